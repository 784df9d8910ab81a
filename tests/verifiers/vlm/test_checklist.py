"""Questions with their answers: the product of the probabilities that each is answered as it should be."""

from __future__ import annotations

import pytest
import torch

from gensearch.testing import VerifierLaws
from verifiers.vlm.checklist import Checklist

QUESTIONS = {"a cup": [("cup?", "yes"), ("dog?", "no")], "a dog": [("dog?", "yes")]}


class Mean:
    """Says yes as surely as the picture is bright, in the channel of the question; NaN for broken pictures."""

    name, differentiable = "mean", False

    def answer(self, media, questions):
        channels = {"cup?": 0, "dog?": 1}
        return [
            torch.stack([picture[channels[q]].mean().log() for q in asked]) + 0 * picture.sum()
            for picture, asked in zip(media, questions, strict=True)
        ]


def test_the_total_is_the_product_and_a_no_counts_as_it_should():
    media = torch.zeros(2, 3, 4, 4)
    media[0, 0], media[0, 1], media[1, 1] = 0.75, 0.2, 0.5
    scores = Checklist(Mean(), QUESTIONS)(media, ["a cup", "a dog"])
    assert scores.total.tolist() == pytest.approx([0.75 * 0.8, 0.5])
    assert scores.parts["cup?"][0] == pytest.approx(0.75)
    assert scores.parts["dog?"].tolist() == pytest.approx([0.8, 0.5])
    assert scores.parts["cup?"][1].isnan()


def test_a_picture_that_was_not_answered_is_unscored():
    scores = Checklist(Mean(), QUESTIONS)(torch.full((1, 3, 2, 2), torch.nan), ["a dog"])
    assert scores.total.isnan().all()


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="no questions for the prompt 'a hat'"):
        Checklist(Mean(), QUESTIONS)(torch.zeros(1, 3, 2, 2), ["a hat"])
    with pytest.raises(ValueError, match="mute answers no questions; take one such as"):
        Checklist(type("Mute", (), {"name": "mute"})(), QUESTIONS)


class TestLaws(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Checklist(Mean(), QUESTIONS)

    @pytest.fixture
    def prompts(self):
        return ["a cup", "a dog", "a cup", "a dog"]
