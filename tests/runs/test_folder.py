"""The folder of a run: what it holds, what survives a kill at any moment, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensearch.cli.main import main
from gensearch.config.run import RunConfig
from gensearch.files.images import decode, digest, encode, thumbnail
from gensearch.runs.folder import RunFolder, default_folder
from gensearch.runs.format import COMPARED, read_journal

ROOT = Path(__file__).parents[2]
COMMAND = ["generate", "a red star", "--model", "toy/turbo", "--verifier", "random", "--knob", "n=5"]
CONFIG = RunConfig(prompt="a red star", model="toy/turbo", verifier="random", knobs={"n": 5})
WRITTEN = {"DONE", "base.png", "best.png", "candidates", "config.json", "report.html", "result.json", "rounds.jsonl"}
FILES = WRITTEN | {".lock"}


class Killed(BaseException):
    """Ends a run where it stands, as SIGKILL would: nothing catches it and nothing is cleaned up."""


def generate(*more: str) -> str | int | None:
    with pytest.raises(SystemExit) as left:
        main([*COMMAND, *more])
    return left.value.code


def same_rounds(a: Path, b: Path) -> bool:
    first, second = ([{key: line[key] for key in COMPARED} for line in read_journal(f)] for f in (a, b))
    return len(first) > 0 and first == second


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    assert generate("--out", str(folder)) == 0
    return folder


def test_a_finished_run_holds_everything_and_nothing_else(whole):
    assert {path.name for path in whole.iterdir()} == FILES
    assert len(list((whole / "candidates").iterdir())) == 5
    lines = read_journal(whole)
    assert [line["ids"] for line in lines] == [[0, 1], [2, 3, 4]]
    assert [line["spent"]["nfe"] for line in lines] == [2, 5]
    scores = [score for line in lines for score in line["scores"]]
    result = json.loads((whole / "result.json").read_bytes())
    assert result["best"]["score"] == max(scores)
    assert result["base"]["score"] == scores[0]
    assert result["stopped"] == "finished"


def test_the_png_carries_its_recipe_twice(whole):
    pixels, text = decode(whole / "best.png")
    about = json.loads(text["gensearch"])
    assert about["pixels"] == digest(pixels)
    assert RunConfig.model_validate(about["config"]) == CONFIG
    assert about["recipe"] == json.loads((whole / "result.json").read_bytes())["provenance"]["recipe"]
    first, second = text["parameters"].split("\n")
    assert first == "a red star"
    assert f"Seed: {about['recipe'][0][1]}," in second
    assert "Steps: 1," in second
    assert "Size: 16x16," in second


def test_metadata_can_be_left_out_and_is_not_reused_from_a_run_with_it(whole, tmp_path, capsys):
    assert generate("--no-metadata", "--out", str(tmp_path / "bare")) == 0
    pixels, text = decode(tmp_path / "bare" / "best.png")
    assert {"gensearch", "parameters"} & text.keys() == set()
    assert np.array_equal(pixels, decode(whole / "best.png")[0])
    assert generate("--no-metadata", "--out", str(whole)) == 2
    assert "metadata differ" in capsys.readouterr().err


def test_the_same_command_reuses_a_finished_run(whole, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert generate("--out", str(whole)) == 0
    said = capsys.readouterr().out
    assert "reused" in said
    assert str(whole / "best.png") in said
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_killed_at_any_write_nothing_is_half_there_and_the_same_command_finishes(whole, tmp_path, monkeypatch):
    fsync, seen = os.fsync, []

    def noted(file):
        seen.append(file)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    assert generate("--out", str(tmp_path / "count")) == 0
    for kill_at in range(1, len(seen) + 1):
        folder = tmp_path / str(kill_at)
        left = iter(range(kill_at, 0, -1))

        def dying(file, left=left):
            if next(left) == 1:
                os.ftruncate(file, os.fstat(file).st_size // 2)  # not everything had reached the disk
                raise Killed
            fsync(file)

        monkeypatch.setattr(os, "fsync", dying)
        with pytest.raises(Killed):
            main([*COMMAND, "--out", str(folder)])
        check_whole_files(folder)
        monkeypatch.setattr(os, "fsync", fsync)
        assert generate("--out", str(folder)) == 0
        assert {path.name for path in folder.iterdir()} == FILES
        assert same_rounds(folder, whole)
        assert (folder / "best.png").read_bytes() == (whole / "best.png").read_bytes()
    assert len(seen) == 13  # config, 5 candidates, 2 rounds, 2 pictures, result, report, DONE


def check_whole_files(folder: Path) -> None:
    assert not (folder / "DONE").exists()
    for path in folder.rglob("*"):
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        if path.suffix == ".png":
            decode(path)
        if path.suffix == ".html":
            assert path.read_text().endswith("</html>\n")
    read_journal(folder)


def test_a_real_kill_leaves_a_run_that_can_be_finished(whole, tmp_path):
    code = f"""
import os, signal, sys
from gensearch.runs import folder as record
add = record.RunFolder.add
def dying(self, progress):
    add(self, progress)
    os.kill(os.getpid(), signal.SIGKILL)
record.RunFolder.add = dying
from gensearch.cli.main import main
main({[*COMMAND, "--out", str(tmp_path / "killed")]!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(read_journal(tmp_path / "killed")) == 1
    assert generate("--out", str(tmp_path / "killed")) == 0
    assert same_rounds(tmp_path / "killed", whole)


def test_a_resumed_run_must_repeat_the_recorded_rounds(whole, tmp_path, capsys):
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "config.json").write_bytes((whole / "config.json").read_bytes())
    first = read_journal(whole)[0]
    first["scores"][1] += 1e-7
    (folder / "rounds.jsonl").write_text(json.dumps(first) + "\n")
    assert generate("--out", str(folder)) == 2
    assert "round 0 differs" in capsys.readouterr().err
    assert not (folder / "best.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "mine", "holds other files and no run"),
        ("config.json", "{", "it is not JSON"),
        ("config.json", '{"gensearch": "1", "config": 3}', "is damaged"),
        ("config.json", '{"config": {"prompt": "another tool"}}', "is damaged"),
    ],
)
def test_a_folder_with_something_else_is_left_alone(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        RunFolder(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_recorded_round_of_another_run_is_left_alone(whole, tmp_path, capsys):
    for name in ("config.json", "rounds.jsonl"):
        shutil.copy(whole / name, tmp_path)
    with pytest.raises(ValueError, match="holds another run: seed differ"):
        RunFolder(tmp_path, CONFIG.model_copy(update={"seed": 1}))


def test_a_run_that_failed_before_its_first_round_leaves_the_folder_to_a_corrected_one(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()  # one that is made for the run goes with it
    assert generate("--holdout", "shapes/judge", "--out", str(folder), "--set", "prompt=a cat on a mat") == 2
    assert "a cat on a mat" in capsys.readouterr().err
    (folder / "candidates").mkdir()  # of a first round that was cut off
    (folder / "candidates" / "00077.png").write_bytes(b"stale")
    assert generate("--holdout", "shapes/judge", "--out", str(folder), "--set", "prompt=a photo of a red star") == 0
    assert json.loads((folder / "config.json").read_bytes())["config"]["prompt"] == "a photo of a red star"
    assert len(list((folder / "candidates").iterdir())) == 5
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.mark.parametrize("name", ["best.png", "base.png", "result.json", "report.html", "rounds.jsonl"])
def test_a_finished_run_that_lost_a_file_is_made_again(whole, tmp_path, capsys, name):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / name).unlink()
    assert generate("--out", str(folder)) == 0
    assert "finished already" not in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "best.png").read_bytes() == (whole / "best.png").read_bytes()
    assert same_rounds(folder, whole)


@pytest.mark.parametrize("line", ["{]", '{"round": 1}', "3", "[" * 100_000])
def test_a_damaged_journal_is_named(whole, tmp_path, line):
    (tmp_path / "config.json").write_bytes((whole / "config.json").read_bytes())
    (tmp_path / "rounds.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"rounds.jsonl is damaged"):
        RunFolder(tmp_path, CONFIG)


def test_default_folders_are_found_again_and_never_hold_the_prompt(tmp_path):
    first = default_folder(CONFIG, tmp_path)
    assert first.name.replace("-", "").isalnum()
    assert "star" not in first.name
    first.mkdir()
    assert default_folder(CONFIG, tmp_path) == first
    other = CONFIG.model_copy(update={"seed": 1})
    assert default_folder(other, tmp_path).name[-10:] != first.name[-10:]


def test_a_clip_is_an_animated_png_that_reads_back(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)
    (tmp_path / "clip.png").write_bytes(encode(frames, {"parameters": "größe"}))
    pixels, text = decode(tmp_path / "clip.png")
    assert np.array_equal(pixels, frames)
    assert text["parameters"] == "größe"
    assert thumbnail(frames, 5).shape == (1, 4, 5, 3)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_png_is_said(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a PNG"):
        decode(tmp_path / "x.png")


def test_a_huge_png_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (9_000, 9_000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="too large"):
        decode(tmp_path / "huge.png")


@pytest.mark.parametrize("still", [True, False])
def test_a_clip_may_have_more_pixels_than_a_picture(tmp_path, monkeypatch, still):
    monkeypatch.setattr("gensearch.files.images.MAX_PIXELS", 100)
    monkeypatch.setattr("gensearch.files.images.MAX_CLIP", 400)
    for count, fits in ((4, True), (5, False)):
        frames = np.zeros((count, 10, 10, 3), np.uint8)
        if not still:
            frames += np.arange(count, dtype=np.uint8)[:, None, None, None]
        (tmp_path / "clip.png").write_bytes(encode(frames))
        if fits:
            assert np.array_equal(decode(tmp_path / "clip.png")[0], frames)
        else:
            with pytest.raises(ValueError, match="too large"):
                decode(tmp_path / "clip.png")


def test_a_folder_has_one_writer(tmp_path, capsys):
    with RunFolder(tmp_path, CONFIG).claimed():
        assert generate("--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "another process is writing to" in error
    assert generate("--out", str(tmp_path)) == 0


def test_a_finished_run_is_not_reused_for_a_model_that_changed(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    assert generate("--out", str(folder)) == 0
    assert "finished already" in capsys.readouterr().out
    result = json.loads((folder / "result.json").read_bytes())
    result["provenance"]["fingerprint"]["threads"] = 77  # the machine may be another one
    (folder / "result.json").write_text(json.dumps(result))
    assert generate("--out", str(folder)) == 0
    result["provenance"]["fingerprint"]["num_steps"] = 9
    (folder / "result.json").write_text(json.dumps(result))
    assert generate("--out", str(folder)) == 2
    assert "the model changed since: num_steps differ" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"best": 5}, {"holdout": []}, {"ledger": {"spent": None}}])
def test_an_edited_result_is_called_damaged(whole, tmp_path, capsys, change):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    result = json.loads((folder / "result.json").read_bytes())
    (folder / "result.json").write_text(json.dumps(result | change))
    assert generate("--out", str(folder)) == 2
    assert "result.json is damaged" in capsys.readouterr().err


def test_rounds_that_the_run_does_not_repeat_are_refused(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "DONE").unlink()
    with (folder / "rounds.jsonl").open("a") as journal:
        journal.write((whole / "rounds.jsonl").read_text().splitlines()[-1] + "\n")
    assert generate("--out", str(folder)) == 2
    assert "holds 3 rounds and this run has 2" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_folder_whose_name_is_no_text_gets_its_report(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    assert generate("--out", str(folder)) == 0
    assert (folder / "DONE").exists()


def test_warnings_are_one_line(tmp_path, capsys, monkeypatch):
    def warn(*args, **kwargs):
        warnings.warn("a judge\nreads less", UserWarning, stacklevel=1)

    monkeypatch.setattr("gensearch.cli.generate.show_files", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert generate("--out", str(tmp_path / "run")) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "warning: a judge reads less"
