"""Verdicts on pairs: both orders, samples, ties, flips, and comparers without an answer."""

from __future__ import annotations

import math

import pytest
import torch

from tests.builders.comparers import Fair, Placed, Silent, grey
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness
from verifiers.tournament.compare import ByScores, Comparer, Referee

NAN = math.nan


def scripted(*answers):
    """A referee's question that gets these answers: first order of the first pair, second order, and so on."""
    return lambda first, second: torch.tensor(answers, dtype=torch.float64)


def asking(comparer, values):
    media = grey(values)
    return lambda a, b: comparer.compare(media[list(a)], media[list(b)], ["a star"] * len(a))


@pytest.mark.parametrize(
    ("ahead", "behind", "verdict", "flips", "ties", "missing"),
    [
        (0.9, 0.2, 0.85, 0, 0, 0),  # both orders prefer the first candidate
        (0.9, 0.9, 0.5, 1, 1, 0),  # always the place shown first
        (0.9, 0.6, 0.65, 1, 0, 0),  # the orders disagree, and the first is surer
        (0.5, 0.5, 0.5, 0, 1, 0),
        (NAN, 0.1, NAN, 0, 0, 1),
        (0.9, NAN, NAN, 0, 0, 1),
    ],
)
def test_a_verdict_is_the_mean_over_both_orders(ahead, behind, verdict, flips, ties, missing):
    referee = Referee(scripted(ahead, behind))
    assert referee([(0, 1)]) == [pytest.approx(verdict, nan_ok=True)]
    assert (referee.bouts, referee.flips, referee.ties, referee.missing) == (1, flips, ties, missing)
    assert referee.bias == pytest.approx(0 if missing else abs(ahead + behind - 1))


def test_a_tie_band_makes_close_verdicts_ties():
    for tie, verdicts in ((0.0, [0.54, 0.7]), (0.05, [0.5, 0.7]), (0.2, [0.5, 0.5])):
        referee = Referee(scripted(0.54, 0.46, 0.7, 0.3), tie=tie)
        assert referee([(0, 1), (0, 2)]) == [pytest.approx(v) for v in verdicts]
        assert referee.ties == sum(v == 0.5 for v in verdicts)


def test_samples_are_averaged_or_counted():
    answers = (0.9, 0.4, 0.4, 0.2, 0.3, NAN)  # three of each order; the last sample has no answer
    assert Referee(scripted(*answers), samples=3)([(0, 1)]) == [pytest.approx((1.7 / 3 + 0.75) / 2)]
    assert Referee(scripted(*answers), samples=3, vote="majority")([(0, 1)]) == [0.5]  # lost one order, won the other
    assert Referee(scripted(0.9, 0.1, 0.2, 0.1), samples=2, vote="majority")([(0, 1)]) == [0.75]  # an even split


def test_both_orders_and_all_samples_are_asked_in_one_call():
    asked = []

    def ask(first, second):
        asked.append(list(zip(first, second, strict=True)))
        return torch.full((len(first),), 0.5)

    Referee(ask, samples=2)([(0, 1), (2, 3)])
    assert asked == [[(0, 1), (0, 1), (1, 0), (1, 0), (2, 3), (2, 3), (3, 2), (3, 2)]]


def test_a_comparer_that_prefers_a_place_decides_nothing():
    referee = Referee(asking(Placed(1.0), [0.2, 0.9]))
    assert referee([(0, 1), (1, 0)]) == [0.5, 0.5]
    assert (referee.flips, referee.ties) == (2, 2)
    assert referee.bias == pytest.approx(2 * 0.8)


def test_no_answer_is_no_verdict():
    assert Referee(asking(Silent(0.5), [0.2, 0.9, 0.7]))([(0, 1), (1, 2)]) == [pytest.approx(NAN, nan_ok=True), 1.0]


@pytest.mark.parametrize("answers", [(1.2, 0.1), (-0.1, 0.5), (0.5,)])
def test_answers_are_probabilities(answers):
    with pytest.raises(ValueError, match="a comparer answered .*; give 2 probabilities"):
        Referee(scripted(*answers))([(0, 1)])


@pytest.mark.parametrize("settings", [{"samples": 0}, {"samples": 1.5}, {"vote": "best"}, {"tie": 0.5}, {"tie": -0.1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="give 1 or more samples"):
        Referee(scripted(), **settings)


def test_any_verifier_compares_by_its_scores():
    media = torch.rand(8, 3, 9, 5, generator=torch.Generator().manual_seed(1))
    media[3] = media[2]
    media[7, 0, 0, 0] = torch.nan
    a, b = media[[0, 2, 4, 6]], media[[1, 3, 5, 7]]
    totals = Redness()(media, ["x"] * 8).total
    sign, soft = ByScores(Redness()), ByScores(Redness(), scale=0.1)
    assert isinstance(sign, Comparer)
    expected = [float(totals[i] > totals[i + 1]) for i in (0, 2, 4)]
    expected[1] = 0.5
    assert sign.compare(a, b, ["x"] * 4).tolist() == [*expected, pytest.approx(NAN, nan_ok=True)]
    logistic = torch.sigmoid((totals[[0, 2, 4]] - totals[[1, 3, 5]]) / 0.1)
    assert torch.allclose(soft.compare(a, b, ["x"] * 4)[:3], logistic)
    both = soft.compare(a[:3], b[:3], ["x"] * 3) + soft.compare(b[:3], a[:3], ["x"] * 3)
    assert torch.allclose(both, torch.ones(3))
    with pytest.raises(ValueError, match="give 0, or a spread"):
        ByScores(RandomScore(), scale=-1)


def test_the_builders_are_comparers():
    assert isinstance(Fair(), Comparer)
    assert not isinstance(RandomScore(), Comparer)
