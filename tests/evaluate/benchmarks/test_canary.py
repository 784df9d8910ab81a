"""A judge that is wrong on known pictures is not believed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gensearch.evaluate.benchmarks import geneval
from gensearch.evaluate.benchmarks.canary import PALETTE, require_canary
from tests.builders.tiny_detectors import mask2former
from verifiers.detect.detection import DetectionScore
from verifiers.detect.geneval import Detection, Rules
from verifiers.detect.mask2former import Mask2FormerDetector
from verifiers.vlm.decompose import COLORS

PHOTO = Path(geneval.__file__).parent / "data/geneval/cat.png"


class Eyes:
    """Finds what it believes wherever a picture is not plain."""

    classes, rules, model = ("cat", "dog"), Rules(), None

    def __init__(self, *believed, blank=False, score=0.97):
        self.believed, self.blank, self.score = believed, blank, score

    def detect(self, image):
        if image.std() == 0 and not self.blank:
            return {}
        return {name: [Detection((0, 0, 9, 9), self.score)] for name in self.believed}


def by_distance(image, name, detections):
    """The palette's nearest colour in the middle of the object."""
    (x, y) = (
        int(detections[0].box[0] + detections[0].box[2]) // 2,
        int(detections[0].box[1] + detections[0].box[3]) // 2,
    )
    return [min(PALETTE, key=lambda color: np.square(image[y, x].astype(float) - PALETTE[color]).sum())]


def judge(detector, classify=by_distance):
    return DetectionScore(detector, classify=classify, graded=False, name="eyes")


def test_a_judge_that_sees_passes():
    require_canary(judge(Eyes("cat")), PHOTO)
    require_canary(judge(Eyes("cat"), None), PHOTO)
    assert tuple(PALETTE) == COLORS
    assert np.asarray(Image.open(PHOTO)).shape == (300, 451, 3)


@pytest.mark.parametrize(
    ("eyes", "why"),
    [
        (Eyes(), "finds no cat in a photograph of a cat; it finds no cat in its mirror image"),
        (Eyes("cat", score=0.02), "finds no cat"),
        (Eyes("cat", "dog"), "finds a dog in a photograph of a cat"),
        (Eyes("cat", blank=True), "finds a cat in a grey area"),
    ],
)
def test_a_blind_or_dreaming_detector_is_refused(eyes, why):
    with pytest.raises(ValueError, match=f"the judge eyes fails on known pictures: .*{why}.*--no-canary"):
        require_canary(judge(eyes), PHOTO)


def test_wrong_colours_are_refused_from_three_on():
    def swapped(count):
        wrong = dict(zip(COLORS[:count], [*COLORS[1:count], COLORS[0]], strict=True))
        return lambda image, name, found: [wrong.get(color, color) for color in by_distance(image, name, found)]

    require_canary(judge(Eyes("cat"), swapped(2)), PHOTO)
    with pytest.raises(ValueError, match="3 of 10 plain discs have a wrong colour \\(red is orange, orange is yellow"):
        require_canary(judge(Eyes("cat"), swapped(3)), PHOTO)


def test_scores_on_another_scale_are_said():
    with pytest.warns(
        UserWarning, match="is 0.70 sure of a close photograph of a cat; GenEval counts objects from 0.9"
    ):
        require_canary(judge(Eyes("cat", score=0.7)), PHOTO)


def test_an_untrained_network_does_not_get_past_the_canary(monkeypatch):
    built = DetectionScore(
        Mask2FormerDetector(mask2former(), short=64, long=96), classify=by_distance, name="untrained"
    )
    monkeypatch.setattr(geneval, "DetectionScore", SimpleNamespace(load=lambda *args, **options: built))
    geneval.load.cache_clear()
    with pytest.raises(ValueError, match="the judge untrained fails on known pictures"):
        geneval.load("mask2former", None, True, "cpu")
    assert geneval.load("mask2former", None, False, "cpu") is built
    geneval.load.cache_clear()
