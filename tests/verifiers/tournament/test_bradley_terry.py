"""Strengths from wins: closed forms, recovery of known strengths, and what leaves them undetermined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from verifiers.tournament.bradley_terry import bradley_terry


def shares(strengths, bouts):
    """Expected wins [n, n] of so many bouts of each pair."""
    s = torch.tensor(strengths, dtype=torch.float64)
    return bouts * (s[:, None] - s).sigmoid().fill_diagonal_(0)


@pytest.mark.parametrize(("won", "lost"), [(3, 1), (1, 1), (2, 7), (0.9, 0.1)])
def test_two_candidates_have_a_closed_form(won, lost):
    found = bradley_terry(torch.tensor([[0, won], [lost, 0]], dtype=torch.float64), prior=0)
    assert float(found[0] - found[1]) == pytest.approx(math.log(won / lost), abs=1e-9)
    assert float(found.sum()) == pytest.approx(0, abs=1e-9)


def test_the_prior_of_two_candidates_has_a_closed_form():
    # by symmetry s = (x, -x), and x solves wins - bouts sigmoid(2x) + prior - 2 prior sigmoid(x) = 0
    found = bradley_terry(torch.tensor([[0.0, 5], [1, 0]]), prior=0.3)
    x = float(found[0])
    assert float(found[1]) == pytest.approx(-x, abs=1e-8)
    assert 5 - 6 / (1 + math.exp(-2 * x)) + 0.3 - 0.6 / (1 + math.exp(-x)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("size", [3, 8])
def test_known_strengths_are_recovered(size):
    strengths = torch.linspace(-1, 1.4, size, dtype=torch.float64)
    strengths -= strengths.mean()
    assert torch.allclose(bradley_terry(shares(strengths.tolist(), 40), prior=0), strengths, atol=1e-7)


def test_sampled_wins_recover_strengths_within_their_standard_error():
    strengths, bouts = np.array([-0.8, -0.2, 0.3, 0.7]), 4000
    rng = np.random.default_rng(0)
    wins = np.zeros((4, 4))
    for a in range(4):
        for b in range(a):
            wins[a, b] = rng.binomial(bouts, 1 / (1 + np.exp(strengths[b] - strengths[a])))
            wins[b, a] = bouts - wins[a, b]
    found = bradley_terry(torch.from_numpy(wins), prior=0).numpy()
    assert np.abs(found - strengths).max() < 4 / np.sqrt(3 * bouts * 0.2)  # information of three pairs, p q above 0.14


def test_the_fit_has_no_gradient_left():
    generator = torch.Generator().manual_seed(3)
    wins = torch.rand(6, 6, generator=generator, dtype=torch.float64).fill_diagonal_(0)
    for prior in (0.0, 0.1):
        s = bradley_terry(wins, prior=prior)
        expected = ((wins + wins.T) * (s[:, None] - s).sigmoid()).fill_diagonal_(0)
        slope = (wins - expected).sum(1) + prior - 2 * prior * s.sigmoid()
        assert float(slope.abs().max()) < 1e-7


def test_ties_are_half_wins_and_keep_equal_records_equal():
    ring = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    halves = torch.full((3, 3), 0.5)
    for wins in (ring, halves):
        assert torch.allclose(bradley_terry(wins), torch.zeros(3, dtype=torch.float64), atol=1e-8)


def test_order_of_candidates_does_not_matter():
    generator = torch.Generator().manual_seed(5)
    wins, shuffle = torch.rand(7, 7, generator=generator, dtype=torch.float64), torch.randperm(7, generator=generator)
    assert torch.allclose(bradley_terry(wins)[shuffle], bradley_terry(wins[shuffle][:, shuffle]), atol=1e-8)


def test_an_unbeaten_candidate_and_separate_groups_need_a_prior():
    ladder = torch.ones(4, 4).triu(1)
    groups = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).fill_diagonal_(0)
    for wins in (ladder, groups):
        with pytest.raises(ValueError, match="give a prior above 0"):
            bradley_terry(wins, prior=0)
        assert bradley_terry(wins).isfinite().all()
    assert (bradley_terry(ladder).diff() < 0).all()


def test_who_never_met_anybody_has_no_strength():
    wins = torch.zeros(3, 3)
    wins[0, 2], wins[2, 0] = 2, 1
    assert bradley_terry(wins).isnan().tolist() == [False, True, False]
    assert bradley_terry(torch.zeros(2, 2)).isnan().all()


@pytest.mark.parametrize(
    "wins", [torch.ones(2, 3), torch.tensor([[0, -1.0], [1, 0]]), torch.tensor([[0, torch.nan], [1, 0]])]
)
def test_wins_are_counts(wins):
    with pytest.raises(ValueError, match="give counts"):
        bradley_terry(wins)
