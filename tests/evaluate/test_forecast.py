"""The forecast of a plan in words: counts by hand, sources named, warnings where chance could look like a gain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gensearch.cli.main import app
from gensearch.evaluate.benchmarks.shapes import SHAPES
from gensearch.evaluate.forecast import forecast
from gensearch.evaluate.plan import make_plan
from gensearch.evaluate.power import detectable, standard_error, worst
from tests.builders.evaluations import write_run

METHODS = ["base=compute:1", "best4=compute:4", "away=model:stabilityai/sd-turbo,compute:2,verifier:shapes/clip"]


def test_figures_by_hand():
    said = "\n".join(forecast(make_plan(None, METHODS, prompts=2, seeds=3), SHAPES, "a100", 0.5, None))
    pairs = 6 * 2 * 3
    assert f"about {pairs * (1 + 4 + 2):,} by the searches" in said
    assert f"{2 * pairs * 3:,} by the exact judge" in said
    assert f"at most {2 * pairs * (64 * 64 * 3 + 2000) / 1e6:,.1f} MB" in said
    assert "without stabilityai/sd-turbo, which is not loaded here" in said
    operations = float(re.findall(r"from (\S+) operations", said)[0])
    needed = float(re.findall(r"time: (\S+) GPU-hours", said)[0])
    assert needed == pytest.approx(operations / (312e12 * 0.5) / 3600, rel=0.01)
    error = standard_error(worst(dict.fromkeys("abcdef", 2)), dict.fromkeys("abcdef", 2), 3)
    assert f"{detectable(error):.3f} ({detectable(error, 2):.3f}), in the worst case" in said
    assert "single_object 0.57 (2 prompts)" in said
    assert "no control" in said


def test_variances_of_an_earlier_run_are_used_by_name(tmp_path: Path):
    run = write_run(tmp_path / "run", {"base": 0.2, "best4": 0.2, "other": 0.6})
    said = "\n".join(forecast(make_plan(None, METHODS[:2], prompts=2), SHAPES, None, 0.3, run))
    assert re.search(rf"best4 0\.\d+, by the variances of {run}", said)
    assert "GPU-hours" not in said


def test_flags_of_the_forecast_need_a_dry_run(tmp_path: Path):
    done = CliRunner().invoke(app, ["evaluate", "--gpu", "h200", "--out", str(tmp_path / "out")])
    assert "add --dry-run" in str(done.exception)
    done = CliRunner().invoke(app, ["evaluate", "--dry-run", "--gpu", "h20", "--out", str(tmp_path / "out")])
    assert "no peak is known for the GPU 'h20'" in str(done.exception)


def test_the_command_compares_and_says_where(tmp_path: Path):
    runs = [write_run(tmp_path / name, {"base": 0.2, name: 0.7}) for name in ("one", "two")]
    done = CliRunner().invoke(app, ["compare", *map(str, runs), "--out", str(tmp_path / "out"), "--resamples", "200"])
    assert done.exit_code == 0, done.output
    assert "two" in done.output
    assert (tmp_path / "out" / "compare.html").stat().st_size > 10_000
    done = CliRunner().invoke(app, ["compare", *map(str, runs)])
    assert "say where the report goes with --out" in str(done.exception)
