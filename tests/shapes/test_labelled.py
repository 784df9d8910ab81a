"""The detector against labels: 340 objects of generated pictures, named without sight of its answers.

The labels come from a vision-language model that saw enlarged crops and was asked to answer as a careful person would.

`objects.json` gives each object's picture (64x64 tiles of `pictures.png`, 16 to a row), box, shape and colour; null
means no clean shape, or not one colour. Thresholds were set with sheet a, the one for circles with a and b; sheet c
came later, from pictures of another generator.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gensearch.shapes.detector import ShapesDetector
from verifiers.detect.geneval import Detection, overlap

FOLDER = Path(__file__).parent / "labelled"
OBJECTS = json.loads((FOLDER / "objects.json").read_text())
TILES = np.asarray(Image.open(FOLDER / "pictures.png").convert("RGB"))


def picture(index: int) -> np.ndarray:
    row, column = divmod(index, 16)
    return TILES[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]


def answer(entry: dict[str, Any]) -> tuple[str | None, str | None]:
    """The detector's shape and colour for a labelled object, None where its score does not count."""
    found = ShapesDetector().detect(picture(entry["picture"]))
    named: list[tuple[str, Detection]] = [(name, d) for name, group in found.items() for d in group]
    name, detection = max(named, key=lambda pair: overlap(pair[1].box, entry["box"]), default=(None, None))
    if detection is None or overlap(detection.box, entry["box"]) < 0.4 or detection.score <= 0.3:
        return None, None
    return name, detection.color


@pytest.mark.parametrize(("sheet", "count", "least"), [("a", 130, 0.86), ("b", 100, 0.85), ("c", 110, 0.78)])
def test_shapes_are_what_the_labels_say(sheet, count, least):
    labelled = [entry for entry in OBJECTS if entry["sheet"] == sheet]
    assert len(labelled) == count
    agree = np.mean([answer(entry)[0] == entry["shape"] for entry in labelled])
    assert agree >= least  # measured: 0.89, 0.88 and 0.82, s.e. 0.03


def test_most_objects_that_the_labels_reject_are_rejected():
    rejected = [answer(entry)[0] is None for entry in OBJECTS if entry["shape"] is None]
    assert len(rejected) == 101
    assert np.mean(rejected) >= 0.8  # measured: 0.84, and 0.82 on sheet c alone


def test_colours_of_agreed_shapes_are_what_the_labels_say():
    pairs = [(answer(entry), entry) for entry in OBJECTS if entry["shape"]]
    colors = [(found[1], entry["color"]) for found, entry in pairs if found[0] == entry["shape"]]
    assert len(colors) > 140
    assert np.mean([ours == theirs for ours, theirs in colors]) >= 0.8
    both = [(ours, theirs) for ours, theirs in colors if ours and theirs]
    assert np.mean([ours == theirs for ours, theirs in both]) >= 0.92
