"""Clips as files: bits that come back, recipes inside, formats that are refused, and the tree in a report."""

from __future__ import annotations

import json
import shutil
import stat
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from typer.testing import CliRunner

from gensearch.cli.main import app
from gensearch.config.run import RunConfig
from gensearch.engine.run import result
from gensearch.files import movies
from gensearch.files.images import decode, encode, strip
from gensearch.files.movies import even, write_clip
from gensearch.pipeline import SearchPipeline
from gensearch.runs.folder import RunFolder
from gensearch.runs.replay import replay
from gensearch.runs.tree_svg import tree

RNG = np.random.default_rng(3)
MOVING = RNG.integers(0, 255, (5, 6, 8, 3)).astype(np.uint8)
RESTING = MOVING[[0, 0, 1, 1, 1, 2, 0, 0]]
STILL = MOVING[[0] * 4]


@pytest.mark.parametrize("pixels", [MOVING, RESTING, STILL, MOVING[:1]], ids=["moving", "resting", "still", "picture"])
def test_a_clip_comes_back_from_its_png_with_every_frame(tmp_path, pixels):
    (tmp_path / "clip.png").write_bytes(encode(pixels, {"gensearch": "recipe"}))
    found, text = decode(tmp_path / "clip.png")
    assert np.array_equal(found, pixels)
    assert text == {"gensearch": "recipe"}


@pytest.mark.parametrize("said", ["99999999999", "-3", "nonsense", "0"])
def test_a_png_cannot_lie_about_its_frames(tmp_path, said):
    info = {"frames": said}
    (tmp_path / "clip.png").write_bytes(encode(MOVING[:1], info))
    if said.isdecimal() and int(said) > 1:
        with pytest.raises(ValueError, match="that is too large"):
            decode(tmp_path / "clip.png")
    else:
        assert len(decode(tmp_path / "clip.png")[0]) <= 1


def test_a_gif_holds_the_clip_and_its_recipe(tmp_path):
    flat = np.repeat(np.repeat(MOVING[:, :1, :1], 6, 1), 8, 2)
    recipe = json.dumps({"recipe": [["gaussian", 5]], "text": "x" * 600})
    write_clip(tmp_path / "clip.gif", flat, recipe, fps=10)
    with Image.open(tmp_path / "clip.gif") as picture:
        assert isinstance(picture, GifImageFile)
        assert picture.n_frames == len(flat)
        assert picture.info["duration"] == 100
        assert picture.info["loop"] == 0
        assert picture.info["comment"].decode() == recipe
        for index, frame in enumerate(flat):
            picture.seek(index)
            assert np.array_equal(np.asarray(picture.convert("RGB")), frame)
    assert (tmp_path / "clip.gif.json").read_text() == recipe


def test_what_no_program_here_writes_is_said_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(movies, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("clip.mp4", "clip.webm"):
        with pytest.raises(ValueError, match=r"`pip install av`, or install ffmpeg, or take .gif"):
            write_clip(tmp_path / name, MOVING, None)
    assert not list(tmp_path.iterdir())


def test_ffmpeg_is_given_raw_frames_of_even_sides(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor last; do :; done\ncat > "$last"\necho "$@" > "$last.args"\ncp "$last.args" $ARGS\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(movies, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("ARGS", str(tmp_path / "args"))
    odd = MOVING[:, :5, :7]
    write_clip(tmp_path / "clip.mp4", odd, "{}", fps=12)
    assert (tmp_path / "clip.mp4").read_bytes() == even(odd).tobytes()
    assert "-s 8x6 -r 12 -i -" in (tmp_path / "args").read_text()
    assert (tmp_path / "clip.mp4.json").read_text() == "{}"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    with pytest.raises(ValueError, match="ffmpeg cannot write .webm here: no such codec; take .gif"):
        write_clip(tmp_path / "other.webm", MOVING, None)


@pytest.mark.parametrize(("suffix", "fps"), [(".mp4", 12), (".webm", 7.5)])
def test_a_movie_is_played_back_with_every_frame(tmp_path, suffix, fps):
    av = pytest.importorskip("av")
    moving = np.zeros((6, 33, 46, 3), np.uint8)
    for index, frame in enumerate(moving):
        frame[8:24, 5 * index : 5 * index + 12] = (220, 60, 40)
    write_clip(tmp_path / f"clip{suffix}", moving, "{}", fps)
    with av.open(str(tmp_path / f"clip{suffix}")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=0.01)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(moving)
    wrong = np.abs(np.stack(frames).astype(int) - even(moving).astype(int)).mean((1, 2, 3))
    assert wrong.max() < 6, "frames are mixed up, or their colours"


@pytest.mark.parametrize(("name", "fps", "message"), [("a.avi", 8, "end its name in"), ("a.gif", 0, "cannot be shown")])
def test_other_names_and_rates_are_refused(tmp_path, name, fps, message):
    with pytest.raises(ValueError, match=message):
        write_clip(tmp_path / name, MOVING, None, fps)


def test_a_strip_shows_the_first_and_the_last_frame():
    wide = strip(RNG.integers(0, 255, (21, 2, 3, 3)).astype(np.uint8), 8)
    assert wide.shape == (1, 2, 24, 3)
    assert np.array_equal(strip(MOVING)[0, :, :8], MOVING[0])
    assert np.array_equal(strip(MOVING)[0, :, -8:], MOVING[-1])
    assert strip(MOVING[:1]).shape == (1, 6, 8, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    knobs: dict[str, Any] = {"branch": [3, 2], "keep": 1}
    config = RunConfig(
        prompt="a star", model="toy/chunks", verifier="random", search="tree_of_frames", knobs=knobs, seed=5
    )
    pipe = SearchPipeline.from_config(config)
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run", config)
    with folder.claimed():
        for progress in pipe.stream("a star", 5):
            folder.add(progress)
        output = pipe.output("a star", result(progress))
        folder.finish(output.result, output.holdout, pipe.model)
    return folder.path


def test_a_run_of_clips_replays_bit_for_bit(folder):
    for source in (folder, folder / "best.png", folder / "base.png"):
        found = replay(source)
        assert found.exact
        assert found.untouched
        assert len(found.pixels) == 4
    with Image.open(folder / "best.gif") as picture:
        assert json.loads(picture.info["comment"])["config"]["search"] == "tree_of_frames"
    assert json.loads((folder / "best.gif.json").read_text())["recipe"][0][0] == "gaussian"
    assert decode(folder / "best_strip.png")[0].shape == (1, 3, 12, 3)


@pytest.mark.parametrize(("fps", "shown"), [("20", 50), ("4", 250)])
def test_a_clip_is_written_again_at_another_rate(folder, tmp_path, fps, shown):
    done = CliRunner().invoke(app, ["replay", str(folder), "--out", str(tmp_path / "clip.gif"), "--fps", fps])
    assert done.exit_code == 0
    with Image.open(tmp_path / "clip.gif") as picture:
        assert picture.info["duration"] == shown


def test_the_report_shows_strip_and_tree(folder):
    page = (folder / "report.html").read_text()
    assert "frames of the best clip" in page
    assert page.count("<circle") >= 3 + 2 + 2 + 2
    assert "class='edge won'" in page


def test_the_tree_follows_the_winner():
    lines = [
        {"done": False, "ids": [0, 1], "recipes": [[], []], "parents": [None, None], "scores": [0.1, None]},
        {"done": True, "ids": [2, 3], "recipes": [[], []], "parents": [0, 0], "scores": [0.5, 0.7]},
    ]
    drawn = tree(lines, 3, "a star")
    assert drawn.count("class='edge won'") == 1
    assert drawn.count("class='edge'") == 1
    assert drawn.count("class=pruned") == 1
    assert "#1: unscored" in drawn
    apart = {**lines[1], "parents": [None, None]}
    assert tree([lines[0], apart], 3, "a star") == "", "nothing came from anything"
    many = {"done": False, "ids": list(range(700)), "recipes": [[]] * 700, "parents": [None] * 700, "scores": [0] * 700}
    assert "Of 702 samples, more than the 600" in tree([many, lines[1]], 3, "a star")


def test_clips_that_are_mended_have_a_tree_too():
    lines = [
        {"done": True, "ids": [0, 1], "recipes": [[], []], "parents": [None, None], "scores": [0.1, 0.2]},
        {"done": True, "ids": [2], "recipes": [[]], "parents": [1], "scores": [0.7]},
    ]
    drawn = tree(lines, 2, "a star")
    assert drawn.count("class='edge won'") == 1
    assert drawn.count("<circle") == 3
    assert "pruned" not in drawn, "finished clips were called pruned"
