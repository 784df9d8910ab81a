"""Which folders an evaluation may write to, and its errors for damaged ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gensearch.cli import evaluate as command
from gensearch.evaluate.journal import JOURNAL, PLAN, claim, records, refuse_others
from gensearch.evaluate.runner import run_plan
from tests.builders.dice import DICE, plan


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["precious.txt", "config.json", "DONE", JOURNAL])
def test_a_folder_with_other_files_is_refused_untouched(tmp_path, name):
    (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path} holds {name} and no plan.json.* Take another --out"):
        command.finish(plan(), DICE, tmp_path, 1)
    assert contents(tmp_path) == before


def test_it_is_refused_before_the_first_record_is_asked_for(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="precious.txt"):
        run_plan(plan(), DICE, tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file; give a folder with --out"):
        refuse_others(plan(), "dice", tmp_path / "file")


@pytest.mark.parametrize("content", ["{not json", "5", "[" * 100_000])
def test_a_damaged_plan_is_named(tmp_path, content):
    claim(plan(), "dice", tmp_path)
    (tmp_path / PLAN).write_text(content)
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        command.finish(plan(), DICE, tmp_path, 1)
    assert (tmp_path / PLAN).read_text() == content


def test_another_tools_plan_is_not_overwritten(tmp_path):
    (tmp_path / PLAN).write_text('{"monday": "rest"}')
    with pytest.raises(ValueError, match="holds another evaluation: monday, "):
        claim(plan(), "dice", tmp_path)
    assert (tmp_path / PLAN).read_text() == '{"monday": "rest"}'


def test_what_a_crash_leaves_before_the_plan_is_no_obstacle(tmp_path):
    (tmp_path / ".plan.json.17.part").write_text('{"ben')
    (tmp_path / ".lock").write_text("")
    claim(plan(), "dice", tmp_path)
    held = json.loads((tmp_path / PLAN).read_text())
    assert (held["benchmark"], held["torch"]) == ("dice", torch.__version__)


def test_a_corrected_plan_may_have_a_folder_without_results(tmp_path):
    claim(plan(seeds=1), "dice", tmp_path)
    claim(plan(seeds=3), "dice", tmp_path)
    assert json.loads((tmp_path / PLAN).read_text())["seeds"] == 3


@pytest.mark.parametrize("line", ["{not json}", '{"a": 1}', "5", "[" * 100_000])
def test_a_damaged_journal_is_named(tmp_path, line):
    (tmp_path / JOURNAL).write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl is damaged: a line is no"):
        records(tmp_path)
