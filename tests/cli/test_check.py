"""`gensearch verifiers check` from end to end on a tiny pool and on labelled pairs, and where passports are shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gensearch.cli import main as cli


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSEARCH_CACHE", str(tmp_path / "cache"))


def gensearch(capsys, *words, code=0):
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    assert left.value.code == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_a_passport_is_made_stored_and_shown(tmp_path, capsys):
    words = ["verifiers", "check", "shapes/partial", "--prompts", 1, "--samples", 4, "--pools", tmp_path / "pools"]
    said = gensearch(capsys, *words)
    for line in ("accuracy:    1.000", "gradient:    no", "unscored:    0.0%", "spearman:    1.000", "ceiling:"):
        assert line in said
    (path,) = (tmp_path / "cache" / "passports").iterdir()
    found = json.loads(path.read_text())
    assert (found["verifier"], found["on"], found["prompts"], found["samples"]) == (
        "shapes/partial",
        "shapes/turbo",
        6,
        4,
    )
    assert len(list((tmp_path / "pools").iterdir())) == 6
    assert "Checked on shapes/turbo: 1.000" in gensearch(capsys, "list", "verifiers", "shapes/partial")
    out = tmp_path / "run"
    run = ["generate", "a photo of a star", "--model", "toy/turbo", "--verifier", "shapes/partial", "--compute", 2]
    gensearch(capsys, *run, "--holdout", "random", "--out", out)
    assert json.loads((out / "result.json").read_text())["passports"] == [found]
    report = (out / "report.html").read_text()
    assert "shapes/partial on shapes/turbo: 1.000" in report
    assert "Signs of over-optimisation" in report


def test_an_unchecked_guide_says_how_to_check_it(tmp_path, capsys):
    run = [
        "generate",
        "a star",
        "--model",
        "toy/turbo",
        "--verifier",
        "random",
        "--compute",
        2,
        "--out",
        tmp_path / "r",
    ]
    said = gensearch(capsys, *run)
    assert "hold-out: none was given" in said
    assert "gensearch verifiers check random" in (tmp_path / "r" / "report.html").read_text()
    assert "Not checked yet: gensearch verifiers check random" in gensearch(capsys, "list", "verifiers", "random")


def test_without_the_guard_nothing_is_said(tmp_path, capsys):
    run = ["generate", "a star", "--model", "toy/turbo", "--verifier", "random", "--compute", 2, "--no-guard"]
    said = gensearch(capsys, *run, "--out", tmp_path / "r")
    assert "hold-out" not in said
    assert "guard:" not in said
    assert json.loads((tmp_path / "r" / "result.json").read_text())["guard"] is None
    assert "Signs of over-optimisation" not in (tmp_path / "r" / "report.html").read_text()


def test_labelled_pairs(tmp_path, capsys):
    for name, level in (("grey", 100), ("red", 200)):
        picture = np.full((8, 8, 3), 100, np.uint8)
        picture[..., 0] = level
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "mine.csv").write_text("prompt,image_a,image_b,preferred\nx,grey.png,red.png,b\ny,red.png,grey.png,a\n")
    out = tmp_path / "passport.json"
    said = gensearch(capsys, "verifiers", "check", "redness", "--pairs", tmp_path / "mine.csv", "--out", out)
    assert "checked on:  mine, 2 prompts" in said
    assert json.loads(out.read_text())["accuracy"]["mean"] == 1
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes/clipp"], "did you mean 'shapes/clip'"),
        (
            ["redness", "--model", "toy/turbo"],
            "no exact judge knows the truth about samples of 'toy/turbo'; take one of",
        ),
        (["redness", "--pairs", "gone.csv"], "gone.csv cannot be read as CSV"),
        (["redness", "--samples", "1"], "greater than or equal to 2"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(words, message, capsys):
    said = gensearch(capsys, "verifiers", "check", *words, code=2)
    assert message in said
    assert said.count("\n") == 1
