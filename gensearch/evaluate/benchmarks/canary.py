"""Known pictures that a judge must be right on before it is believed.

A detector whose operators were built for another GPU runs without an error and finds almost nothing. A CLIP with the
wrong activation names colours almost at random. Both give low scores that look like a bad generator's.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from verifiers.detect.detection import DetectionScore
from verifiers.detect.geneval import Detection

SURE = 0.9  # GenEval's threshold for counting, which a close photograph of one animal passes
RIGHT = 8  # colours out of ten on plain discs
PALETTE = {
    "red": (220, 30, 30),
    "orange": (245, 140, 20),
    "yellow": (245, 225, 30),
    "green": (30, 150, 50),
    "blue": (30, 70, 210),
    "purple": (125, 40, 160),
    "pink": (250, 150, 190),
    "brown": (110, 65, 30),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
}


def require_canary(judge: DetectionScore, photo: Path) -> None:
    """Check a judge on pictures that are known, and warn if its scores are on another scale than GenEval's.

    Args:
        judge: A detector, and what names colours.
        photo: Of one cat and nothing else.

    Raises:
        ValueError: It is wrong about one of them.
    """
    image = np.array(Image.open(photo).convert("RGB"))
    problems, score = detector_alarms(judge, image)
    problems += color_alarms(judge)
    if problems:
        raise ValueError(
            f"the judge {judge.name} fails on known pictures: {'; '.join(problems)}. Its verdicts would be worthless: "
            "check weights, device and versions, or go on all the same with --no-canary"
        )
    if score <= SURE:
        warnings.warn(
            f"{judge.name} is {score:.2f} sure of a close photograph of a cat; GenEval counts objects from {SURE} on, "
            "so that the tag counting is not comparable with published scores",
            stacklevel=2,
        )


def detector_alarms(judge: DetectionScore, image: np.ndarray) -> tuple[list[str], float]:
    """Return what the detector gets wrong, and how sure it is of the cat.

    Args:
        judge: The judge.
        image: A photograph of one cat, uint8 [h, w, 3].
    """
    blank = np.full_like(image, 128)
    asked = (
        (image, "cat", True, "a photograph of a cat"),
        (np.ascontiguousarray(image[:, ::-1]), "cat", True, "its mirror image"),
        (image, "dog", False, "a photograph of a cat"),
        (blank, "cat", False, "a grey area"),
    )
    problems, best = [], 0.0
    for shown, name, there, words in asked:
        examined = judge.examine(shown, line(name))
        if examined.verdict.correct != there:
            problems.append(f"it finds {'no' if there else 'a'} {name} in {words}")
        if name == "cat" and there:
            best = max([best, *(d.score for d in examined.found.get(name, ()))])
    return problems, best


def color_alarms(judge: DetectionScore) -> list[str]:
    """Return whether too few colours of plain discs are named; nothing for a judge that names none.

    Args:
        judge: The judge.
    """
    if judge.classify is None:
        return []
    rows, columns = np.mgrid[:224, :224]
    mask = (rows - 112) ** 2 + (columns - 112) ** 2 < 100**2
    wrong = []
    for color, rgb in PALETTE.items():
        image = np.where(mask[..., None], np.array(rgb, np.uint8), np.uint8(255))
        (named,) = judge.classify(image, "sports ball", [Detection((12.0, 12.0, 213.0, 213.0), 1.0, mask)])
        wrong += [] if named == color else [f"{color} is {named}"]
    return (
        [f"{len(wrong)} of 10 plain discs have a wrong colour ({', '.join(wrong)})"] if len(wrong) > 10 - RIGHT else []
    )


def line(name: str) -> dict[str, Any]:
    """Return the metadata line of one object.

    Args:
        name: of its class.
    """
    return {"tag": "single_object", "include": [{"class": name, "count": 1}], "prompt": f"a photo of a {name}"}
