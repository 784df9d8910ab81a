"""The documentation is true: its code runs, its commands exist, its pages cover every search, and the site builds."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gensearch.registry import VERIFIERS
from gensearch.search import SEARCHES
from gensearch.search.knobs import bounds, describe, documented, knobs_of, shown, source, summary
from verifiers.entry import Entry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
NOT_RUN = r"(<!-- not run: [^\n]+ -->\n)?"
GIVEN = {"rng", "ledger", "propose"}  # keyword arguments of a search that are no knobs


def blocks(page: str) -> list[str]:
    """The Python blocks of a page that run, each on its own lines so that errors name the right one."""
    text = (ROOT / page).read_text()
    found = re.finditer(NOT_RUN + r"```python\n(.*?)```", text, flags=re.S)
    return ["\n" * text[: m.start(2)].count("\n") + m[2] for m in found if not m[1]]


ADDED: dict[str, Entry] = {}


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """The verifiers that the documentation adds are known here, and to no other test."""
    for name, entry in ADDED.items():
        monkeypatch.setitem(VERIFIERS, name, entry)


def run(page: str) -> dict[str, Any]:
    """Run the blocks of a page, one after the other, as one script; returns its names, verifiers it adds in ADDED."""
    names: dict[str, Any] = {"__name__": f"docs:{page}"}
    listed = set(VERIFIERS)
    for code in blocks(page):
        exec(compile(code, str(ROOT / page), "exec"), names)
    ADDED.update({name: VERIFIERS.pop(name) for name in VERIFIERS.keys() - listed})
    return names


# The worked examples of CONTRIBUTING.md are tests themselves: their classes and functions are collected here.
globals().update({name: value for name, value in run("CONTRIBUTING.md").items() if name.lower().startswith("test")})


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_code_in_the_documentation_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_has_code_that_runs(name):
    page = f"docs/methods/{name}.md"
    assert page in PAGES, missing(name)
    assert blocks(page), f"add a ```python block to {page} that runs {name} on an embedded model"


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_has_a_page_with_its_knobs(name):
    page = DOCS / "methods" / f"{name}.md"
    assert page.exists(), missing(name)
    text = page.read_text()
    for heading in ("## Update rule", "## Knobs", "## When not to use it"):
        assert f"\n{heading}\n" in text, f"add the section '{heading}' to docs/methods/{name}.md"
    table = text.split("\n## Knobs\n")[1].split("\n## ")[0]
    written = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", table, flags=re.M))
    parameters = inspect.signature(SEARCHES[name]).parameters.values()
    knobs = {p.name: str(p.default) for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in GIVEN}
    assert {key: value.strip("'") for key, value in written.items()} == {k: v.strip("'") for k, v in knobs.items()}, (
        f"give the table under '## Knobs' in docs/methods/{name}.md one row '| `KNOB` | `DEFAULT` | range | meaning |' "
        "for each knob of the signature"
    )
    for row in ("changes", "paper", "needs", "cost"):
        assert f"\n| {row} |" in text, f"add the row '| {row} | ... |' to the first table of docs/methods/{name}.md"
    for index, link in (
        ("docs/methods/index.md", f"[`{name}`]({name}.md)"),
        ("README.md", f"[`{name}`](docs/methods/{name}.md)"),
    ):
        assert link in (ROOT / index).read_text(), f"add a row for {link} to the table of searches in {index}"


def missing(name: str) -> str:
    """What to do about a search without a page."""
    return (
        f"add docs/methods/{name}.md with a first table, a ```python block, '## Update rule', '## Knobs' and "
        "'## When not to use it'; docs/methods/zero_order.md is one to copy"
    )


def methods_in_nav() -> dict[str, str]:
    """Pages of the navigation under Methods: page -> title."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1].split("  - Methods:\n")[1]
    found = re.findall(r"^      - (?:(.+): )?(methods/\S+)$", nav, flags=re.M)
    return {page: title.strip("\"'") for title, page in found}


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_is_in_the_navigation_under_its_name(name):
    nav = methods_in_nav()
    line = f"'- {name}: methods/{name}.md'"
    assert f"methods/{name}.md" in nav, f"add {line} under Methods to nav in mkdocs.yml"
    assert nav[f"methods/{name}.md"] == name, f"write {line} in mkdocs.yml: a title under Methods is its file's name"


def test_the_worked_search_keeps_the_rules_of_the_repository():
    """It can be copied as it stands."""
    search = run("CONTRIBUTING.md")["greedy_walk"]
    assert re.fullmatch(r"[A-Z][^\n]{20,118}\.", summary(search))
    assert re.search(r"arXiv:|doi:|control", source(search))
    assert list(documented(search)) == [*knobs_of(search), "propose"]
    assert bounds(search)
    for knob in describe(search):
        line = f"{knob.text}; {knob.range} (default {shown(knob.default)}"
        assert documented(search)[knob.name].startswith(line)


def test_pages_are_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text()
    lost = [page.removeprefix("docs/") for page in PAGES if page.removeprefix("docs/") not in nav]
    assert lost == [], f"add to nav in mkdocs.yml: {', '.join(f'TITLE: {page}' for page in lost)}"


def commands() -> list[str]:
    """Every gensearch command of the shell blocks, continued lines joined."""
    found = []
    for page in ("README.md", "CONTRIBUTING.md", *PAGES):
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), flags=re.S):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.split("  #")[0].strip() for line in lines if line.startswith("gensearch ")]
    return sorted(set(found))


def test_commands_in_the_documentation_exist():
    """Every command and option that is shown; nothing is run, because help is asked for."""
    from gensearch.cli.main import app

    assert len(commands()) > 20
    for command in commands():
        printed = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
        assert printed.exit_code == 0, f"a page shows a command that does not exist: {command}\n{printed.output}"


def test_links_between_files_exist():
    broken = []
    for page in ("README.md", "CONTRIBUTING.md", *PAGES):
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", (ROOT / page).read_text()):
            if not ((ROOT / page).parent / target).exists():
                broken.append(f"{page}: {target}")
    assert broken == [], "links to files that do not exist; mend the path or add the file"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning(tmp_path):
    if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("mkdocs-material and mkdocstrings are not installed; run pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "methods" / "best_of_n" / "index.html").is_file()
