"""`gensearch evaluate` from the command line to the files it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from gensearch.cli import evaluate as command
from gensearch.cli.main import main
from gensearch.evaluate import runner
from gensearch.evaluate.benchmarks.shapes import MOVING, SHAPES
from gensearch.evaluate.journal import records
from gensearch.files.atomic import append_line
from gensearch.shapes import clips, world
from gensearch.shapes.judge import ShapesJudge
from gensearch.shapes.tracker import ShapesTracker
from tests.builders.dice import DICE, Judge, plan
from verifiers.types import Scores

app = typer.Typer()
app.command()(command.evaluate)


def test_a_dry_run_prints_the_cost_and_leaves_nothing(tmp_path: Path):
    out = tmp_path / "out"
    flags = ["--method", "base=compute:1", "--method", "best=compute:12", "--prompts", "2", "--seeds", "5", "--dry-run"]
    done = CliRunner().invoke(app, ["shapes", *flags, "--out", str(out)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "12 x 60 = 720" in done.output
    assert "60 pairs" in done.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("method", "cost"),
    [
        ("search:zero_order,knobs.neighbours:2", "16 x 6 = 96"),
        ("search:zero_order,knobs.rounds:2", "set by its knobs"),
        ("knobs.n:4", "set by its knobs"),
        ("knobs.n:4,compute:3", "3 x 6 = 18"),
    ],
)
def test_a_dry_run_counts_what_the_run_would_spend(method, cost):
    flags = ["--method", f"a={method}", "--prompts", "1", "--dry-run"]
    done = CliRunner().invoke(app, ["shapes", *flags], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert cost in done.output


def test_a_dry_run_cuts_no_name_and_counts_everything():
    shared = "model:shapes/video,verifier:shapes/clip-motion,search:tree_of_frames,compute:2"
    flags = ["--method", f"oracle_backtracking8={shared}", "--method", f"b={shared}", "--prompts", "1", "--dry-run"]
    done = CliRunner().invoke(app, ["moving", *flags], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    for whole in ("oracle_backtracking8", "tree_of_frames", "shapes/clip-motion", "2 x 4 = 8"):
        assert whole in done.output
    assert "model of every method: shapes/video" in done.output
    assert "total: at most 240 NFE" in done.output


def test_a_dry_run_loads_no_model_from_elsewhere():
    flags = ["--method", "a=model:someone/else,compute:2", "--method", "b=knobs.n:4", "--prompts", "1", "--dry-run"]
    done = CliRunner().invoke(app, ["shapes", *flags], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "total: without b, whose knobs set the cost; without what runs on someone/else" in done.output


@pytest.mark.parametrize("mistake", ["verifier:nope", "search:nope", "knobs.compute:3"])
def test_a_dry_run_of_what_cannot_run_fails(mistake):
    done = CliRunner().invoke(app, ["shapes", "--method", f"a={mistake}", "--dry-run"])
    assert isinstance(done.exception, ValueError)


@pytest.mark.parametrize("holdout", ["1*second", "nothing"])
def test_a_run_sums_up_whatever_its_holdout(tmp_path: Path, holdout):
    command.finish(plan(holdout=[holdout]), DICE, tmp_path, 1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    overall = [method["scores"][holdout]["overall"] for method in summary["methods"].values()]
    assert all((score is None) == (holdout == "nothing") for score in overall)
    assert f"{holdout} (hold-out)" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("line", ["{not json}", '{"a": 1}', "5"])
def test_a_damaged_journal_is_one_clear_line(tmp_path: Path, line):
    command.finish(plan(), DICE, tmp_path, 1)
    with (tmp_path / runner.JOURNAL).open("a") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl is damaged: a line is no"):
        command.finish(plan(), DICE, tmp_path, 1)


def test_a_result_of_no_job_is_damage(tmp_path: Path):
    command.finish(plan(), DICE, tmp_path, 1)
    journal = tmp_path / runner.JOURNAL
    line = {**json.loads(journal.read_text().splitlines()[0]), "prompt": "first"}
    with journal.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl is damaged: a line names no job"):
        command.finish(plan(), DICE, tmp_path, 1)


def test_a_run_leaves_summary_and_table_and_a_second_one_repeats_them(tmp_path: Path):
    command.finish(plan(), DICE, tmp_path, 1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["benchmark"], summary["judge"], summary["pairs"]) == ("dice", "dice/judge", 12)
    assert list(summary["methods"]) == ["base", "best4", "best6"]
    first = (tmp_path / "table.md").read_text()
    assert first.startswith("| method | easy | hard | overall |")
    command.finish(plan(), DICE, tmp_path, 1)
    assert (tmp_path / "table.md").read_text() == first


def test_ctrl_c_keeps_what_is_done_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def interrupted(path, data):
        append_line(path, data)
        if data["prompt"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "append_line", interrupted)
    with pytest.raises(typer.Exit) as stopped:
        command.finish(plan(), DICE, tmp_path, 1)
    assert stopped.value.exit_code == 130
    assert "stopped at 13 of 36" in capsys.readouterr().out
    monkeypatch.undo()
    command.finish(plan(), DICE, tmp_path, 1)
    assert len(records(tmp_path)) == 36


def test_the_printed_table_is_not_cut(tmp_path: Path):
    for _ in runner.run_plan(plan(), DICE, tmp_path):
        pass
    console = Console(record=True, width=80)
    command.show_summary(plan(), DICE, tmp_path, console)
    printed = console.export_text()
    assert "best6" in printed
    assert "…" not in printed


def test_the_shapes_benchmark_is_held_out_and_judged_exactly():
    lines = SHAPES.lines(3)
    assert [line["tag"] for line in lines] == [tag for tag in world.TAGS for _ in range(3)]
    assert all(world.asks_held_out({**line}) for line in lines if line["tag"] not in ("single_object", "counting"))
    assert isinstance(SHAPES.judge(), ShapesJudge)
    assert {"shapes/judge", "shapes/partial"} == SHAPES.oracles


def test_the_moving_benchmark_is_held_out_and_judged_exactly():
    lines = MOVING.lines(3)
    assert [line["tag"] for line in lines] == [tag for tag in clips.TAGS for _ in range(3)]
    assert all(world.is_held_out(((c["class"], c["color"]),)) for line in lines for c in line["include"])
    assert isinstance(MOVING.judge(), ShapesTracker)
    assert {"shapes/tracker", "shapes/tracker-partial"} == MOVING.oracles


def test_each_benchmark_has_a_preset_and_counts_its_own_prompts(tmp_path: Path):
    flags = ["--prompts", "2", "--dry-run", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["moving", *flags], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "moving: 8 pairs" in done.output
    assert "tree_of_frames" in done.output


@pytest.mark.parametrize("flag", ["--prompts", "--seeds"])
def test_a_number_out_of_range_names_its_flag(flag, capsys):
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "shapes", flag, "0", "--dry-run"])
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: {flag}: it should be at least 1 (got 0)\n"


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_loaded(more, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "shapes", "--out", str(tmp_path / "file" / "run"), *more])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.err == f"error: cannot write to {tmp_path / 'file' / 'run'} (Not a directory); take another --out\n"
    assert said.out == ""


@pytest.mark.parametrize("mistake", ["model:toy/nope,verifier:random", "propose:nope", "options.sorce:x"])
def test_a_wrong_request_leaves_nothing(mistake, tmp_path: Path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "shapes", "--method", f"a={mistake}", "--prompts", "1", "--out", str(out)])
    assert exit.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_what_a_kill_left_half_written_is_swept_away(tmp_path: Path):
    command.finish(plan(), DICE, tmp_path, 1)
    parts = [tmp_path / ".plan.json.7.part", next((tmp_path / "pictures").glob("*")) / ".0.png.7.part"]
    for part in parts:
        part.write_bytes(b"half")
    command.finish(plan(), DICE, tmp_path, 1)
    assert not any(part.exists() for part in parts)


class Partial(Judge):
    """The exact judge of the dice, which also says by how much a picture passes."""

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(super().__call__(media, prompts).total, {"height": media[:, 0, 0, 0]})


def test_a_benchmarks_own_summary_and_its_judges_parts_are_kept(tmp_path: Path, capsys):
    def mean_height(found):
        return {"height": sum(record["parts"]["height"] for record in found) / len(found)}

    command.finish(plan(), DICE._replace(judge=Partial, summary=mean_height), tmp_path, 1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name, method in summary["methods"].items():
        own = [record for record in records(tmp_path) if record["method"] == name]
        assert all(record["parts"]["height"] == pytest.approx(record["score"], abs=0.002) for record in own)
        assert method["upstream"]["height"] == pytest.approx(sum(r["score"] for r in own) / len(own), abs=0.002)
    assert "best6 by the benchmark's own rule: height 0." in capsys.readouterr().out


@pytest.mark.parametrize(("flags", "pairs"), [([], 42), (["--seeds", "2"], 12)])
def test_the_convention_of_a_benchmark_says_how_many_pictures_a_prompt_gets(flags, pairs, monkeypatch):
    """Six tags with one prompt each, and seven pictures a prompt unless the command says otherwise."""
    monkeypatch.setattr(command.Name, "benchmark", lambda self: SHAPES._replace(per_prompt=7))
    lines = ["shapes", "--method", "base=compute:1", "--prompts", "1", "--dry-run", *flags]
    done = CliRunner().invoke(app, lines, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert f"shapes: {pairs} pairs" in done.output
