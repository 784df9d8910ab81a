"""Folders in GenEval's layout: what counts, verdicts that resume, damage, and the original's summary."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from gensearch.evaluate.benchmarks.geneval import folder_judge, whole
from gensearch.evaluate.judging import judge_pictures, pixels, summarise
from gensearch.evaluate.layout import read
from tests.builders.coded import Coded, coded_color, slow_verdict
from verifiers.detect.detection import DetectionScore

JUDGE = folder_judge("geneval:mask2former", DetectionScore(Coded(), classify=coded_color, graded=False, name="coded"))
LINES = [whole(None)[i] for i in (0, 79, 90, 180, 258, 300, 352, 360, 452, 460, 552)]


def paint(folder: Path, seed: int = 0, per_prompt: int = 3) -> None:
    """Pictures of random pixels as three programs would lay them out, with what is to be ignored."""
    rng = np.random.default_rng(seed)
    for number, line in enumerate(LINES):
        prompt = folder / (f"{number:05}" if number % 2 else str(number))
        (prompt / "samples").mkdir(parents=True)
        (prompt / "metadata.jsonl").write_text(json.dumps(line) + "\n" * (number % 3))
        for sample in range(per_prompt):
            name = f"{sample:0{4 + number % 2}}.png"
            Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(prompt / "samples" / name)
        (prompt / "grid.png").write_bytes(b"no picture")
    for other in ("notes", "12a"):
        (folder / other).mkdir()
    (folder / "0" / "samples" / "preview.png").write_bytes(b"no picture")
    (folder / "0" / "samples" / "0000.png.part").write_bytes(b"no picture")


def judged(folder: Path, out: Path) -> list[dict[str, Any]]:
    list(judge_pictures(read(folder)[0], JUDGE, out))
    return [json.loads(line) for line in out.read_text().splitlines()]


def original(folder: Path) -> list[dict[str, Any]]:
    """The folder as the original evaluator walks it, in the order of the file system, with slow rules."""
    found = []
    for subfolder in os.listdir(folder):
        if not (folder / subfolder).is_dir() or not subfolder.isdigit():
            continue
        line = json.loads((folder / subfolder / "metadata.jsonl").read_text())
        for name in os.listdir(folder / subfolder / "samples"):
            if name.endswith(".png") and name.removesuffix(".png").isdigit():
                image = np.asarray(Image.open(folder / subfolder / "samples" / name).convert("RGB"))
                correct, reasons = slow_verdict(image, line, Coded(), coded_color)
                found.append(
                    {"filename": f"{subfolder}/samples/{name}", "metadata": json.dumps(line), "correct": correct}
                )
                found[-1] |= {"tag": line["tag"], "reasons": reasons}
    return found


def test_verdicts_and_numbers_are_those_of_a_slow_walk_through_the_folder(tmp_path):
    paint(tmp_path / "made", per_prompt=12)
    mine, theirs = judged(tmp_path / "made", tmp_path / "out.jsonl"), original(tmp_path / "made")
    by_name = {record["filename"]: record for record in theirs}
    assert len(mine) == len(theirs) == 12 * len(LINES)
    for record in mine:
        other = by_name[record["filename"]]
        assert (record["correct"], record["metadata"]) == (other["correct"], other["metadata"])
        assert len(record["reason"].splitlines()) == other["reasons"]
    assert 10 < sum(record["correct"] for record in mine) < len(mine) - 10
    tags: dict[str, list[bool]] = {}
    prompts: dict[str, bool] = {}
    for record in theirs:
        tags.setdefault(record["tag"], []).append(record["correct"])
        prompts[record["metadata"]] = prompts.get(record["metadata"], False) or record["correct"]
    shares = [sum(flags) / len(flags) for flags in tags.values()]
    summary = summarise(mine)
    assert summary.overall == pytest.approx(sum(shares) / len(shares), abs=1e-12)
    assert summary.images == pytest.approx(sum(r["correct"] for r in theirs) / len(theirs), abs=1e-12)
    assert summary.prompts == pytest.approx(sum(prompts.values()) / len(prompts), abs=1e-12)
    assert set(mine[0]) >= {"filename", "tag", "prompt", "correct", "reason", "metadata", "details"}
    assert mine[0]["benchmark"] == "GenEval (HF-M2F)"


def test_the_file_is_the_same_however_often_it_was_interrupted(tmp_path):
    paint(tmp_path / "made")
    whole_run, parts = tmp_path / "a" / "out.jsonl", tmp_path / "b" / "out.jsonl"
    judged(tmp_path / "made", whole_run)
    for stop in (1, 5, 0, 7):
        work = cast(Generator[Any], judge_pictures(read(tmp_path / "made")[0], JUDGE, parts))
        for _ in range(stop):
            next(work)
        work.close()
        if parts.exists():
            parts.write_bytes(parts.read_bytes()[: None if stop == 5 else -9])  # a torn last line
    rest = list(judge_pictures(read(tmp_path / "made")[0], JUDGE, parts))
    assert 0 < len(rest) < 3 * len(LINES)
    assert parts.read_bytes() == whole_run.read_bytes()
    assert list(judge_pictures(read(tmp_path / "made")[0], JUDGE, parts)) == []


def test_changed_and_removed_pictures_are_noticed(tmp_path):
    paint(tmp_path / "made")
    first = judged(tmp_path / "made", tmp_path / "out.jsonl")
    changed, removed = (tmp_path / "made" / first[i]["filename"] for i in (0, 4))
    Image.fromarray(np.full((8, 9, 3), 7, np.uint8)).save(changed)
    removed.unlink()
    again = list(judge_pictures(read(tmp_path / "made")[0], JUDGE, tmp_path / "out.jsonl"))
    assert [record["filename"] for record in again] == [first[0]["filename"]]
    left = [json.loads(line)["filename"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert left == [record["filename"] for i, record in enumerate(first) if i != 4]


def test_damaged_pictures_are_named_and_the_others_judged(tmp_path):
    paint(tmp_path / "made")
    names = [picture.path for picture in read(tmp_path / "made")[0][:3]]
    names[0].write_bytes(names[0].read_bytes()[:60])
    names[1].write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(names[2])
    found = list(judge_pictures(read(tmp_path / "made")[0], JUDGE, tmp_path / "out.jsonl"))
    errors = [record["error"] for record in found if "error" in record]
    assert [str(path) in error for path, error in zip(names, errors, strict=True)] == [True] * 3
    assert "more than 8 bits" in errors[2]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3 * len(LINES) - 3


def test_another_judge_does_not_mix_in(tmp_path):
    paint(tmp_path / "made")
    judged(tmp_path / "made", tmp_path / "out.jsonl")
    other = folder_judge("geneval:owlv2", DetectionScore(Coded(), classify=coded_color, graded=False, name="other"))
    with pytest.raises(ValueError, match="holds verdicts by coded.* take another --out"):
        list(judge_pictures(read(tmp_path / "made")[0], other, tmp_path / "out.jsonl"))


def test_folders_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        read(tmp_path / "no")
    with pytest.raises(ValueError, match="has no folder of digits"):
        read(tmp_path)
    (tmp_path / "00003").mkdir()
    with pytest.raises(ValueError, match=r"cannot read .*00003/metadata\.jsonl"):
        read(tmp_path)
    for text in ("{", "[1]", "{}"):
        (tmp_path / "00003" / "metadata.jsonl").write_text(text)
        with pytest.raises(ValueError, match=r"00003/metadata\.jsonl"):
            read(tmp_path)
    (tmp_path / "00003" / "metadata.jsonl").write_text('{"prompt": "a photo of a cup"}')
    pictures, bare = read(tmp_path)
    assert (pictures, bare) == ([], ["00003"])


def test_pictures_are_turned_as_cameras_say_and_have_no_transparency(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 4), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "alpha.png")
    assert np.array_equal(pixels(tmp_path / "alpha.png"), image[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.fromarray(image[..., :3]).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pixels(tmp_path / "turned.png"), np.rot90(image[..., :3], -1))
