"""What the README shows is true: its Python runs, its commands, folders and numbers exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

README = Path(__file__).parents[1] / "README.md"
ORDER = (  # of what a reader meets
    "# gensearch",
    "(docs/quality_against_cost.png)",
    "(docs/base_vs_searched.png)",
    "make demo",
    "pip install",
    "## Six lines of Python",
    "## Methods",
    "## Results",
    "## Reproducibility",
    "## Your own search in 20 lines",
    "## Your own verifier in 10 lines",
    "## Map of the folders",
    "## How to cite",
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?<!-->\n)```{language}\n(.*?)```", README.read_text(), flags=re.S)


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "stars.png").stat().st_size > 500
    assert "nfe=16" in capsys.readouterr().out
    assert {"greedy_walk", "Symmetry"} <= names.keys()


def test_the_examples_are_as_short_as_they_say():
    for lines, start in ((20, "def greedy_walk"), (10, "class Symmetry")):
        (code,) = (code for code in blocks("python") if start in code)
        body = code[code.index(start) :].split("\n\npipe")[0].split("\n\nout")[0]
        assert len([line for line in body.splitlines() if line]) <= lines


def test_sections_come_in_order():
    text = README.read_text()
    places = [text.find(part) for part in ORDER]
    assert -1 not in places
    assert places == sorted(places)


def test_the_two_commands_stand_at_the_top_and_exist():
    first = blocks("sh")[0]
    targets = re.findall(r"^make (\w+)", first, flags=re.M)
    makefile = (README.parent / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in targets)


def test_recipes_expect_what_the_readme_reports():
    text = README.read_text()
    base, best = (
        re.search(rf"^\| {name} \| ([\d.]+) \|.*\| ([\d.]+) \|$", text, flags=re.M) for name in ("base", "best of 16")
    )
    expected = (README.parent / "configs" / "shapes_turbo__best_of_16.yaml").read_text()
    assert base
    assert best
    for column in (1, 2):
        assert f"{base[column]} -> {best[column]} by" in expected
    minutes = re.search(r"this table in (about \w+ minutes on two CPU cores)", text)
    assert minutes
    assert minutes[1] in (README.parent / "configs" / "evaluate" / "shapes_turbo.yaml").read_text()


def test_results_are_those_of_the_guides():
    results = README.read_text().split("\n## Results\n")[1].split("\n## ")[0]
    guides = "".join((README.parent / "docs" / page).read_text() for page in ("shapes_turbo.md", "hypernoise.md"))
    numbers = re.findall(r"\d\.\d{3}", results)
    assert len(numbers) > 40
    assert [number for number in numbers if number not in guides] == []


def test_the_map_names_folders_that_exist():
    tree = re.search(r"```\n(verifiers/.*?)```", README.read_text(), flags=re.S)
    assert tree
    names = re.findall(r"^( *)(\w+)/ ", tree[1], flags=re.M)
    paths = [("gensearch/" if indent else "") + name for indent, name in names]
    assert len(paths) >= 12
    assert [path for path in paths if not (README.parent / path).is_dir()] == []
    inside = {path.name for path in (README.parent / "gensearch").iterdir() if (path / "__init__.py").is_file()}
    assert inside == {name for indent, name in names if indent}


def test_the_citation_is_that_of_this_version():
    version = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((README.parent / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["authors"]
    assert (citation["version"], citation["title"]) == (
        version,
        "gensearch: test-time scaling for image and video generators",
    )
    (bibtex,) = blocks("bibtex")
    assert f"version = {{{version}}}" in bibtex
