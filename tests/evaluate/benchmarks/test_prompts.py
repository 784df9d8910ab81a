"""Any file of prompts as a benchmark: what measures it, and errors that name file and line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from gensearch.cli.main import app
from gensearch.evaluate.benchmarks import prompts as module
from gensearch.evaluate.benchmarks.lines import read
from gensearch.evaluate.benchmarks.names import find
from gensearch.evaluate.benchmarks.prompts import from_file
from verifiers.types import Scores

RULE = {"prompt": "a photo of two cups", "include": [{"class": "cup", "count": 2}]}
ASKED = {"prompt": "a cup on a hat", "questions": [["Is there a cup?", "yes"], ["Is there a dog?", "no"]]}


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def test_a_text_file_is_measured_by_a_verifier_that_is_named(tmp_path):
    path = written(tmp_path / "hats.txt", "a red hat", "", "  a blue hat ")
    found = from_file(path, None, ["redness", "random"])
    assert found.name == f"hats.txt (sha256 {digest(path)}) by redness, a hold-out: there is no exact judge"
    assert found.lines(9) == [{"tag": "hats", "prompt": "a red hat"}, {"tag": "hats", "prompt": "a blue hat"}]
    assert found.lines(1) == found.lines(9)[:1]
    assert found.judge().name == "redness"
    assert found.oracles == {"redness"}
    assert from_file(path, "random").name.endswith(" by random")
    with pytest.raises(ValueError, match=r"nothing measures the prompts of .*hats\.txt; give --judge or --holdout"):
        from_file(path, None)


def test_lines_with_clauses_go_by_genevals_rules(tmp_path):
    path = written(tmp_path / "mine.jsonl", RULE, {**RULE, "prompt": "cups", "tag": "other"})
    found = find(str(path), judge="geneval:owlv2")
    assert found.name == f"mine.jsonl (sha256 {digest(path)}) by GenEval (owlv2)"
    assert [line["tag"] for line in found.lines(9)] == ["counting", "other"]
    with pytest.raises(ValueError, match="forbids commercial use"):
        find(str(path))
    with pytest.raises(ValueError, match="does not know GenEval's rules"):
        find(str(path), judge="redness")


def test_lines_with_questions_go_by_a_model_that_answers(tmp_path, monkeypatch):
    class Sure:
        name, differentiable = "sure", False

        def answer(self, media, questions):
            return [torch.full((len(asked),), 0.9).log() for asked in questions]

    path = written(tmp_path / "mine.jsonl", ASKED)
    monkeypatch.setattr(module, "built", lambda name: Sure())
    found = from_file(path, "vqascore:any", ["redness"])
    scores: Scores = found.judge()(torch.zeros(1, 3, 2, 2), ["a cup on a hat"])
    assert scores.total.item() == pytest.approx(0.9 * 0.1)
    assert found.name.endswith("by vqascore:any on its questions")
    with pytest.raises(ValueError, match="give --judge with a model that answers questions"):
        from_file(path, None, ["redness"])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["{"], "line 1: it is not JSON"),
        ([RULE, "", "[3]"], "line 3: there is no prompt"),
        ([{"prompt": "a", "tag": 3}], "line 1: the tag is 3"),
        ([ASKED, {**ASKED, "questions": []}], r"line 2: questions is \[\]"),
        ([{**ASKED, "questions": [["How many?", "two"]]}], "line 1: questions is .* write it as"),
        ([RULE, {"prompt": "a hat"}], "line 2: it has no rule, the first prompt include; keep them in different files"),
        ([ASKED, {**RULE, "prompt": "x"}], "line 2: it has include, the first prompt questions"),
        ([RULE, {**RULE, "include": [{"class": "cup", "count": 3}]}], "line 2: 'a photo of two cups' has another"),
        ([""], "has no prompts"),
    ],
)
def test_an_unfit_file_is_named_with_its_line(lines, why, tmp_path):
    path = written(tmp_path / "mine.jsonl", *lines)
    with pytest.raises(ValueError, match=rf"mine\.jsonl.*{why}|{why}"):
        read(path)


def test_names_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no benchmark is called 'genval'; did you mean 'geneval'"):
        find("genval")
    with pytest.raises(ValueError, match="cannot read"):
        find(str(tmp_path / "no.txt"), judge="random")
    with pytest.raises(ValueError, match="shapes has prompts and an exact judge of its own"):
        find("shapes", judge="random")
    with pytest.raises(ValueError, match="leave out --prompts-file"):
        find(str(written(tmp_path / "a.txt", "a")), judge="random", path=tmp_path / "b.jsonl")


def test_a_run_on_a_text_file_from_the_command_line(tmp_path):
    path = written(tmp_path / "two.txt", "a photo of a red circle", "a photo of a green star")
    out, layout = tmp_path / "run", tmp_path / "layout"
    flags = ["--holdout", "redness", "--method", "a=compute:1", "--out", str(out), "--layout", str(layout)]
    done = CliRunner().invoke(app, ["evaluate", str(path), *flags], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["judge"] == "redness"
    assert "there is no exact judge" in summary["benchmark"]
    assert (layout / "a" / "00001" / "samples" / "00000.png").is_file()
    dry = CliRunner().invoke(app, ["evaluate", str(path), "--judge", "random", "--method", "a=compute:3", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "3 x 2 = 6" in dry.output
