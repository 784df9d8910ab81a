"""`gensearch judge` from the command line, on real pictures of the Shapes world and on GenEval's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gensearch.cli import main as cli
from gensearch.evaluate.benchmarks import geneval
from gensearch.evaluate.benchmarks.geneval import whole
from gensearch.shapes import drawing, world
from tests.builders.coded import Coded, coded_color
from verifiers.detect.detection import DetectionScore


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["judge", *map(str, words)])
    said = capsys.readouterr()
    assert left.value.code == code, said.err
    return said.out, said.err


def lay(folder: Path, number: int, line: dict[str, Any], *pictures: np.ndarray) -> None:
    samples = folder / f"{number:05}" / "samples"
    samples.mkdir(parents=True)
    (folder / f"{number:05}" / "metadata.jsonl").write_text(json.dumps(line))
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(samples / f"{index:04}.png")


def scenes(folder: Path) -> int:
    """Prompts of the Shapes world: a right picture, and an empty one."""
    rng, lines = np.random.default_rng(3), world.benchmark(4)
    for number, line in enumerate(lines):
        picture = np.asarray(drawing.render(world.scene_for(line, rng)))
        lay(folder, number, line, picture, np.full_like(picture, 240))
    return len(lines)


def test_right_pictures_of_the_shapes_world_are_accepted_and_others_not(tmp_path, capsys):
    prompts = scenes(tmp_path)
    out, _ = run(capsys, "shapes", tmp_path)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(records) == 2 * prompts
    assert all(record["correct"] for record in records if record["filename"].endswith("0000.png"))
    assert not any(record["correct"] for record in records if record["filename"].endswith("0001.png"))
    summary = json.loads((tmp_path / "results.summary.json").read_text())
    assert (summary["images"], summary["prompts"], summary["overall"]) == (0.5, 1.0, 0.5)
    assert "correct pictures  50.00%, correct prompts 100.00%" in out
    assert "0.50000" in out
    again, _ = run(capsys, "shapes", tmp_path)
    assert again == out


def test_a_damaged_picture_is_named_and_fails_the_command(tmp_path, capsys):
    scenes(tmp_path)
    broken = tmp_path / "00002" / "samples" / "0001.png"
    broken.write_bytes(b"\x89PNG\r\n")
    lay(tmp_path, 900, world.benchmark(1)[0])
    _, err = run(capsys, "shapes", tmp_path, "--out", tmp_path / "elsewhere.jsonl", code=1)
    assert f"left out: {broken} is damaged" in err
    assert "1 prompts have no picture: 00900" in err
    assert (tmp_path / "elsewhere.summary.json").is_file()


def test_geneval_writes_verdicts_summary_and_parity(tmp_path, capsys, monkeypatch):
    verifier = DetectionScore(Coded(), classify=coded_color, graded=False, name="geneval:owlv2")
    asked = []

    def load(*given):
        asked.append(given)
        return verifier

    monkeypatch.setattr(geneval, "load", load)
    rng = np.random.default_rng(0)
    for number in (3, 200, 400):
        lay(tmp_path / "p", number, whole(None)[number], *rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    out, _ = run(capsys, "geneval", tmp_path / "p", "--judge", "geneval:owlv2", "--published", "SDXL", "--no-canary")
    assert asked == [("owlv2", None, False, None)]
    assert "GenEval (owlv2): 12 pictures of 3 prompts" in out
    text = (tmp_path / "p" / "results.parity.md").read_text()
    assert "detector: owlv2 instead of OpenMMLab's Mask2Former" in text
    assert "difference from SDXL" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["geneval", "{}"], "forbids commercial use"),
        (["geneval", "{}", "--judge", "clip"], "does not know GenEval's rules"),
        (["geneval", "{}", "--published", "SDX"], "did you mean 'SDXL'"),
        (["shapes", "{}", "--judge", "clip"], "has an exact judge of its own"),
        (["shapes", "{}/no"], "there is no folder"),
        (["shapes", "{}"], "00000: the Shapes world cannot read the prompt"),
    ],
)
def test_wrong_requests_are_one_line(words, why, tmp_path, capsys):
    lay(tmp_path, 0, {"prompt": "an elephant of brass", "tag": "x"})
    Image.new("RGB", (8, 8)).save(tmp_path / "00000" / "samples" / "0.png")
    _, err = run(capsys, *(word.format(tmp_path) for word in words), code=2)
    assert err.count("\n") == 1
    assert why in err
