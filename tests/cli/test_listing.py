"""`gensearch list`: overviews, the page of one search, presets by command, and tables that nothing cuts."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from gensearch import registry
from gensearch.cli import listing
from gensearch.cli import main as cli
from gensearch.config.run import RunConfig
from gensearch.config.yaml import presets
from gensearch.packages import configs
from gensearch.pipeline import SearchPipeline
from gensearch.search import NEEDS, SEARCHES, Needs
from gensearch.search.knobs import bounds, describe, shown, source, summary
from verifiers.card import Card
from verifiers.names import leaf_names


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, and its exit code is as expected."""
    with pytest.raises(SystemExit) as left:
        cli.main(["list", *words])
    assert left.value.code == code
    said = capsys.readouterr()
    return said.err if code else said.out


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in some text, folded cells put together."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("│"):
            found = [cell.strip() for cell in line.strip("│").split("│")]
            if found[0]:
                rows.append(found)
            else:
                rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], found, strict=True)]
    return rows


def glued(text: str) -> str:
    """Text without white space: cells are folded between words and within."""
    return "".join(text.split())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_has_a_page(name, capsys):
    page = run(capsys, "searches", name)
    rows = cells(page)
    assert [row[0] for row in rows] == [knob.name for knob in describe(SEARCHES[name])]
    for row, knob in zip(rows, describe(SEARCHES[name]), strict=True):
        assert [glued(cell) for cell in row[1:]] == [
            glued(text) for text in (shown(knob.default), knob.range, knob.text)
        ]
    text = " ".join(page.split())
    assert text.startswith(f"{name}: {summary(SEARCHES[name])} Source: {source(SEARCHES[name])}")
    assert f"Length: set by {bounds(SEARCHES[name])[0]}, or else by the budget" in text
    needs = NEEDS.get(name, Needs())
    assert all(f"(verb '{verb}')" in text for verb in needs.verbs)
    assert ("Model: any" in text) == (not needs.verbs)
    assert f"Verifier: {'a differentiable one' if needs.differentiable else 'any'}" in text
    assert needs.note in text


class Reached(Exception):
    """The command got as far as loading a model."""


@pytest.mark.parametrize("name", SEARCHES)
def test_the_example_of_a_search_is_one_line_that_would_run(name, capsys, monkeypatch):
    configured: list[RunConfig] = []

    def keep(config: RunConfig) -> None:
        configured.append(config)
        raise Reached

    monkeypatch.setattr(SearchPipeline, "from_config", keep)
    (line,) = [line for line in run(capsys, "searches", name).splitlines() if line.startswith("Example:")]
    command, *words = shlex.split(line.removeprefix("Example:"))
    assert command == "gensearch"
    with pytest.raises(Reached):
        cli.main(["--debug", *words])
    (config,) = configured
    assert config.search == name
    assert bounds(SEARCHES[name])[0] in config.knobs
    assert config.model in registry.models()
    assert all(leaf in registry.VERIFIERS for leaf in leaf_names(config.verifier))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dno", "milr", "tree_of_frames"])
def test_examples_fit_their_models(name, capsys, tmp_path):
    (line,) = [line for line in run(capsys, "searches", name).splitlines() if line.startswith("Example:")]
    with pytest.raises(SystemExit) as left:
        cli.main([*shlex.split(line.removeprefix("Example:"))[1:], "--dry-run", "--out", str(tmp_path / "run")])
    assert left.value.code == 0


def test_the_overview_of_searches_stays(capsys):
    rows = cells(run(capsys, "searches"))
    assert [row[0] for row in rows] == list(SEARCHES)
    for name, knobs, what in rows:
        assert what == summary(SEARCHES[name])
        assert glued(knobs) == glued(", ".join(f"{k.name}={shown(k.default)}" for k in describe(SEARCHES[name])))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["searches", "zero_ordr"], "did you mean 'zero_order'"),
        (["searches", ""], "no search is called ''"),
        (["models", "shapes/sd"], "only a search or a verifier has a page of its own; write `gensearch list models`"),
    ],
)
def test_an_unknown_name_is_one_line(words, message, capsys):
    said = run(capsys, *words, code=2)
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_presets_are_grouped_by_the_command_that_they_are_for(capsys):
    said = run(capsys, "presets")
    folders = {path.parent.relative_to(configs()).as_posix() for path in configs().rglob("*.yaml")}
    assert {folder or "." for folder in listing.PRESETS} == folders
    parts = re.split("|".join(f"(?:{re.escape(command)})" for command in listing.PRESETS.values()), said)
    assert parts[0] == ""
    for folder, part in zip(listing.PRESETS, parts[1:], strict=True):
        rows = cells(part)
        assert [row[0] for row in rows] == presets(configs() / folder)
        assert all(re.match(r"\S.{15,}\.$", about) for _, about in rows)
        assert all("Cost:" not in about for _, about in rows)


@pytest.mark.parametrize("words", [["searches"], ["searches", "milr"], ["presets"], ["models"]])
def test_a_pipe_of_80_columns_gets_whole_tables_without_escapes(words, capsys, monkeypatch):
    for columns in ("20", "80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        said = run(capsys, *words)
        assert "\x1b" not in said
        tables = [line for line in said.splitlines() if line[:1] in "┏┡│└" and line]
        assert {line[0] + line[-1] for line in tables} == {"┏┓", "┡┩", "││", "└┘"}
        assert max(map(len, tables)) <= max(80, int(columns))
        names = [row[0] for row in cells(said)]
        assert all(" " not in name for name in names), "a name was folded"


def test_names_that_are_too_long_are_folded_and_not_cut(capsys):
    console = listing.wide_console()
    console.width = 80
    console.print(listing.titled("name", "what", rows=[("x" * 100, "y" * 100)]))
    said = capsys.readouterr().out
    assert (said.count("x"), said.count("y")) == (100, 100)


def test_the_real_command_writes_to_a_pipe():
    code = [sys.executable, "-m", "gensearch", "list", "searches", "zero_order"]
    done = subprocess.run(code, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("zero_order: ")
    assert done.stderr == ""


def test_verifiers_are_listed_in_80_columns_with_all_facts(capsys):
    text = run(capsys, "verifiers")
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for name in registry.VERIFIERS:
        card = registry.describe(name)
        assert card is not None
        assert f"{name} {registry.VERIFIERS[name].about}" in flat
        assert f"scores {card.range}" in flat
        assert f"licence {card.licence}" in flat or card.checkpoint == "none"
    cards = {name: registry.describe(name) for name in registry.VERIFIERS}
    closed = [name for name, card in cards.items() if card and not card.commercial]
    assert text.count("NON-COMMERCIAL") == len(closed) > 0
    assert all("mask2former" in name for name in closed)


def test_one_verifier_has_a_page_and_json(capsys):
    name = "pickscore:yuvalkirstain/PickScore_v1"
    page = run(capsys, "verifiers", name)
    card = registry.describe(name)
    assert card is not None
    lines = dict(line.split(":", 1) for line in page.splitlines()[2:])
    shown = {True: "yes", False: "no"}
    assert lines.pop("Not checked yet") == f" gensearch verifiers check {name}"
    assert {key: value.strip() for key, value in lines.items()} == {
        key: shown.get(value, value) for key, value in card._asdict().items()
    }
    (found,) = json.loads(run(capsys, "verifiers", name, "--json"))
    assert found == {"name": name, "about": registry.VERIFIERS[name].about, **card._asdict()}
    assert [each["name"] for each in json.loads(run(capsys, "verifiers", "--json"))] == list(registry.VERIFIERS)
    assert "that of somebody/else" in run(capsys, "verifiers", "siglip:somebody/else")


def test_what_has_no_page_is_said(capsys):
    assert "did you mean 'random'" in run(capsys, "verifiers", "randon", code=2)
    assert "no verifier is called 'clip'" in run(capsys, "verifiers", "clip", code=2)
    assert "is a sum or a vote" in run(capsys, "verifiers", "random+redness", code=2)
    assert "list verifiers --json" in run(capsys, "searches", "--json", code=2)


@pytest.fixture
def bound(monkeypatch):
    """A verifier whose licence forbids commercial use."""
    module = types.ModuleType("bound_for_tests")
    vars(module)["CARD"] = Card("a/bound", "CC-BY-NC-4.0", "pictures", "0 to 1", commercial=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = registry.VERIFIERS["redness"]._replace(module=module.__name__)
    monkeypatch.setitem(registry.VERIFIERS, "bound", entry)


def test_a_noncommercial_licence_is_marked(bound, capsys):
    assert "    NON-COMMERCIAL; a/bound; licence CC-BY-NC-4.0" in run(capsys, "verifiers")
    assert "Needs --allow-noncommercial" in run(capsys, "verifiers", "bound")


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "a photo of a ring", "--verifier", "bound", "--compute", "1"],
        ["generate", "a photo of a ring", "--holdout", "bound", "--compute", "1"],
        ["evaluate", "shapes", "--method", "one=compute:1,verifier:bound", "--prompts", "1"],
        ["evaluate", "shapes", "--method", "one=compute:1", "--holdout", "bound", "--prompts", "1"],
    ],
)
def test_a_noncommercial_licence_needs_a_flag(words, bound, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    for flag, code in (([], 2), (["--allow-noncommercial"], 0)):
        with pytest.raises(SystemExit) as left:
            cli.main([*words, *out, *flag])
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        assert ("the licence of 'bound' (CC-BY-NC-4.0) forbids commercial use" in said.err) == bool(code)


def test_training_by_a_noncommercial_licence_needs_a_flag(bound, tmp_path, capsys, monkeypatch):
    def reached(*args, **options):
        raise Reached

    monkeypatch.setattr("gensearch.registry.load_model", reached)
    words = ["--debug", "train", "hypernoise", "--config", "redness", "--set", "rewards=bound", "--log", "none"]
    with pytest.raises(ValueError, match="forbids commercial use"):
        cli.main([*words, "--out", str(tmp_path)])
    with pytest.raises(Reached):
        cli.main([*words, "--out", str(tmp_path), "--allow-noncommercial"])


def test_a_noncommercial_licence_needs_a_flag_in_python(bound):
    with pytest.raises(ValueError, match="allow_noncommercial=True in Python"):
        SearchPipeline.from_pretrained("shapes/turbo", select="bound")
    pipe = SearchPipeline.from_pretrained("shapes/turbo", select="bound", allow_noncommercial=True)
    assert pipe.panel.select.name == "redness"
