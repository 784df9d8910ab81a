"""The least of several scores, and vetoes: values, gradients, and what can never win."""

from __future__ import annotations

import math

import pytest
import torch

from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from gensearch.testing.verifiers import LinearScore
from verifiers.combine import Least, Term, Veto
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness
from verifiers.types import Scores

NAN = math.nan


class Said:
    """A verifier of given scores."""

    differentiable = False

    def __init__(self, name, *scores):
        self.name, self.scores = name, scores

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.tensor(self.scores))


def total(verifier, count):
    return verifier(torch.zeros(count, 3, 1, 1), [""] * count).total.tolist()


class TestLeast(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        linear = LinearScore(randn([5], (1, 64, 64))[0])
        return Least(Term(Redness(), 2.0, shift=0.1), Term(linear, scale=30.0), name="least")


class TestVeto(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return Veto(Redness(), (RandomScore(), ">=", 0.0))


def test_the_least_is_that_of_calibrated_scores():
    one, other = Said("a", 1.0, 4.0, NAN, 3.0), Said("b", 10.0, 0.0, 2.0, -math.inf)
    found = total(Least(Term(one), Term(other, shift=2.0, scale=4.0)), 4)
    assert found == [1.0, -0.5, pytest.approx(NAN, nan_ok=True), -math.inf]


@pytest.mark.parametrize(
    ("sign", "threshold", "expected"),
    [(">=", 0.5, [1.0, 2.0, -math.inf, NAN, NAN]), ("<=", 0.5, [1.0, -math.inf, 3.0, NAN, NAN])],
)
def test_a_vetoed_sample_scores_minus_infinity_and_the_threshold_itself_passes(sign, threshold, expected):
    scored, veto = Said("a", 1.0, 2.0, 3.0, 4.0, NAN), Said("b", 0.5, 0.75, 0.25, NAN, 0.5)
    found = total(Veto(scored, (veto, sign, threshold)), 5)
    assert found == [pytest.approx(value, nan_ok=True) for value in expected]


def test_every_veto_counts_and_is_among_the_parts():
    veto = Veto(Said("a", 1.0, 2.0, 3.0), (Said("b", 1.0, 0.0, 1.0), ">=", 0.5), (Said("c", 0.0, 0.0, 9.0), "<=", 1.0))
    scores = veto(torch.zeros(3, 3, 1, 1), [""] * 3)
    assert scores.total.tolist() == [1.0, -math.inf, -math.inf]
    assert scores.parts.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("vetoes", "words"),
    [
        ([], "has no veto"),
        ([(Said("b"), ">", 0.5)], "is no condition"),
        ([(Said("b"), ">=", NAN)], "is no condition"),
        ([(Said("a"), ">=", 0.5)], "different names"),
    ],
)
def test_unusable_vetoes_are_refused(vetoes, words):
    with pytest.raises(ValueError, match=words):
        Veto(Said("a"), *vetoes)
