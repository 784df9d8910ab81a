from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.testing import VerifierLaws
from tests.builders.tiny_detectors import grounding, mask2former, owlv2
from verifiers.combine import judges
from verifiers.detect.detection import DetectionScore
from verifiers.detect.geneval import Detection, Rules
from verifiers.detect.grounding import GroundingDetector
from verifiers.detect.mask2former import Mask2FormerDetector
from verifiers.detect.owlv2 import Owlv2Detector


class Drawn:
    """Finds what it is given, whatever the picture."""

    classes = ("cup", "dog")
    rules = Rules()
    model = None

    def __init__(self, **found):
        self.found = {name: [Detection(*thing) for thing in things] for name, things in found.items()}

    def detect(self, image):
        return self.found


def thing(x, y=100, score=0.95, color=None):
    return ((x, y, x + 100, y + 100), score, None, color)


def own_colors(image, name, detections):
    return [d.color for d in detections]


def score(prompt, *, graded=True, **found):
    verifier = DetectionScore(Drawn(**found), classify=own_colors, graded=graded)
    scores = verifier(torch.rand(1, 3, 8, 8), [prompt])
    return scores.total.item(), {name: part.item() for name, part in scores.parts.items()}


class Laws(VerifierLaws):
    @pytest.fixture
    def prompts(self):
        return ["a photo of a cat", "a photo of two clocks", "a photo of a cat", "a photo of a dog left of a bus"]


class TestGrounding(Laws):
    @pytest.fixture
    def verifier(self):
        detector = GroundingDetector(*grounding(), ["cat"])
        return DetectionScore(detector, rules=Rules(threshold=0, counting_threshold=0))


class TestOwlv2(Laws):
    @pytest.fixture
    def verifier(self):
        return DetectionScore(Owlv2Detector(*owlv2(), ["cat"]), rules=Rules(threshold=0.1, counting_threshold=0.1))


class TestMask2Former(Laws):
    @pytest.fixture
    def verifier(self):
        detector = Mask2FormerDetector(mask2former(), short=64, long=96)
        return DetectionScore(detector, graded=False, rules=Rules(threshold=0.01, counting_threshold=0.01))


def test_all_clauses_of_a_right_picture_hold():
    prompt = "a photo of a red cup and a blue dog"
    found = {"cup": [thing(0, color="red")], "dog": [thing(300, color="blue")]}
    parts = {"correct": 1, "share": 1, "1 red cup": 1, "1 blue dog": 1}
    assert score(prompt, **found) == (1, parts)
    assert score(prompt, graded=False, **found) == (1, parts)


def test_the_share_counts_clauses_and_the_verdict_wants_all():
    prompt = "a photo of a red cup and a blue dog"
    found = {"cup": [thing(0, color="red")], "dog": [thing(300, color="red")]}
    parts = {"correct": 0, "share": 0.5, "1 red cup": 1, "1 blue dog": 0}
    assert score(prompt, **found) == (0.5, parts)
    assert score(prompt, graded=False, **found) == (0, parts)


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (2, 1), (3, 0.5)])
def test_a_number_is_two_clauses(count, share):
    total, parts = score("a photo of two cups", cup=[thing(200 * i) for i in range(count)])
    assert total == share
    assert parts["2 cup"] == (count >= 2)
    assert parts["fewer than 3 cup"] == (count < 3)


@pytest.mark.parametrize(("x", "holds"), [(0, 1), (300, 0), (600, 0)])
def test_a_place_is_part_of_a_clause(x, holds):
    total, parts = score("a photo of a cup left of a dog", cup=[thing(x)], dog=[thing(300)])
    assert parts["1 dog"] == 1
    assert parts["1 cup left of dog"] == holds
    assert total == (1 + holds) / 2


def test_counting_uses_the_higher_threshold_and_scores_at_it_are_rejected():
    at, above = 0.9, np.nextafter(0.9, 1)
    assert score("a photo of two cups", cup=[thing(0, score=at), thing(200, score=above)])[1]["2 cup"] == 0
    assert score("a photo of two cups", cup=[thing(0, score=above), thing(200, score=above)])[1]["2 cup"] == 1
    assert score("a photo of a cup", cup=[thing(0, score=0.3)])[0] == 0
    assert score("a photo of a cup", cup=[thing(0, score=0.31)])[0] == 1


def test_parts_are_missing_where_they_are_not_of_the_prompt_or_the_picture_is_broken():
    media = torch.rand(3, 3, 8, 8)
    media[2, 0, 0, 0] = torch.nan
    scores = DetectionScore(Drawn(cup=[thing(0)]))(media, ["a photo of a cup", "a photo of a dog", "a photo of a cup"])
    assert scores.total[:2].tolist() == [1, 0]
    assert scores.total[2].isnan()
    assert scores.parts["1 cup"].isnan().tolist() == [False, True, True]
    assert scores.parts["1 dog"].isnan().tolist() == [True, False, True]


def test_the_metadata_of_a_prompt_goes_before_its_words():
    asked = {"tag": "counting", "include": [{"class": "dog", "count": 2}], "prompt": "a photo of a cup"}
    found = {"dog": [thing(0), thing(200)]}
    scores = DetectionScore(Drawn(**found), lines={"a photo of a cup": asked})(
        torch.rand(2, 3, 8, 8), ["a photo of a cup", "a photo of two cups"]
    )
    assert scores.total.tolist() == [1, 0.5]
    assert set(scores.parts) == {"correct", "share", "2 dog", "2 cup", "fewer than 3 cup"}


def test_what_cannot_be_checked_is_refused():
    verifier = DetectionScore(Drawn())
    for prompt, why in (
        ("a photo of a castle", "does not know 'castle' .* take one that detects any class"),
        ("a photo of a red cup", "names no colours .* give it a `classify`"),
        ("cups everywhere", "no rule turns the prompt"),
    ):
        with pytest.raises(ValueError, match=why):
            verifier(torch.rand(1, 3, 8, 8), [prompt])
    with pytest.raises(ValueError, match="one prompt each"):
        verifier(torch.rand(2, 3, 8, 8), ["a photo of a cup"])


def test_the_network_of_the_colours_counts_as_a_verifier_inside():
    class Classify:
        clip = DetectionScore(Drawn(), name="clip")

        def __call__(self, image, name, detections):
            return [None] * len(detections)

    assert [inner.name for inner in judges(DetectionScore(Drawn(), classify=Classify()))] == ["detection", "clip"]
