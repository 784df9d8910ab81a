"""Divergences of laws: closed forms, Monte Carlo where the truth is known, and no number where none is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gensearch.core.divergence import best_of_n_nats, chain_nats, choice_nats, first_order_nats, shift_nats
from gensearch.core.noise import derive, exact, nearby, randn, step_noise
from gensearch.core.result import Result
from gensearch.engine.run import run
from gensearch.models.toy.chunks import ToyChunks
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search import SEARCHES
from gensearch.testing.verifiers import LinearScore
from verifiers.controls.random import RandomScore

SHAPE = (1, 4, 4)
TURBO, LINEAR = GaussianTurbo(SHAPE), LinearScore(randn([4], SHAPE)[0])


def searched(name: str, **knobs) -> Result:
    return run(SEARCHES[name], TURBO, LINEAR, "a star", **knobs)


def test_a_shift_costs_half_its_square():
    assert shift_nats(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist() == [12.5, 0.5]


@pytest.mark.parametrize(("n", "nats"), [(1, 0.0), (2, math.log(2) - 0.5), (50, math.log(50) - 0.98)])
def test_a_choice_among_n(n, nats):
    assert best_of_n_nats(n) == pytest.approx(nats)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_the_best_of_n_of_one_dimension_has_that_divergence(n):
    """Monte Carlo of E log q/p with the density q = n F^(n - 1) p of the largest of n normal values."""
    best = torch.from_numpy(np.random.default_rng(n).standard_normal((200_000, n))).amax(1)
    ratio = math.log(n) + (n - 1) * torch.special.log_ndtr(best)
    assert abs(ratio.mean() - best_of_n_nats(n)) < 4 * ratio.std() / len(ratio) ** 0.5


def two_sided(hits: float, share: float) -> float:
    """KL of a law under which an event of probability `share` has the probability `hits`: a bound from below."""
    return sum(q * math.log(q / p) for q, p in ((hits, share), (1 - hits, 1 - share)) if q)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("n", [2, 4, 64])
def test_no_event_shows_more_divergence_than_the_bound_of_a_choice(share, n):
    assert two_sided(1 - (1 - share) ** n, share) <= best_of_n_nats(n)


def test_a_noise_and_its_opposite_need_the_full_logarithm():
    """Of both, the better one always lies in a half-space, which is ln 2: more than `best_of_n_nats` allows."""
    knobs = {"rounds": 1, "neighbours": 1, "cosine": -0.9999}
    found = [searched("zero_order", **knobs, seed=derive("opposite", i)) for i in range(60)]
    middle = LINEAR(TURBO.render(TURBO.start(["a star"], torch.zeros(1, *SHAPE))), ["a star"]).total.item()
    hits = sum(result.best.score > middle for result in found) / len(found)
    assert hits > 0.97
    assert best_of_n_nats(2) < two_sided(hits, 0.5) <= choice_nats("zero_order", found[0])


@pytest.mark.parametrize("knobs", [{"cosine": 0.8}, {"cosine": 0.3, "patience": 1}, {"neighbours": 1, "cosine": 0.0}])
def test_the_bound_of_zero_order_search_is_never_below_the_truth(knobs):
    """The share of winners above a quantile of plain samples bounds the divergence from below."""
    plain = LINEAR(TURBO.render(TURBO.start(["a star"] * 4000, randn(range(4000), SHAPE))), ["a star"] * 4000).total
    found = [searched("zero_order", rounds=4, seed=derive("truth", i), **knobs) for i in range(60)]
    bound = min(choice_nats("zero_order", result) for result in found)
    for share in (0.5, 0.1, 0.03):
        threshold = float(plain.detach().quantile(1 - share))
        hits = sum(result.best.score > threshold for result in found) / len(found)
        assert hits > 1.5 * share  # it searches
        assert two_sided(hits, share) < bound


def test_a_turned_noise_is_as_normal_as_before():
    """A rotation of N(0, I) by N(0, I): mean, variance and norm of 4000 neighbours of 4000 noises, in any direction."""
    start, direction = randn(range(4000), (12,)), randn(range(4000, 8000), (12,))
    turned = nearby(start, direction, 0.4)
    assert turned.mean(0).abs().max() < 4 / 4000**0.5
    covariance = turned.T @ turned / 4000
    assert (covariance - torch.eye(12)).abs().max() < 4 * 2**0.5 / 4000**0.5


def test_more_rounds_or_larger_ones_never_have_a_lower_bound():
    bounds = [chain_nats([m] * rounds) for rounds in (1, 2, 3, 10) for m in (1, 2, 5)]
    assert bounds == [rounds * math.log(1 + m) for rounds in (1, 2, 3, 10) for m in (1, 2, 5)]
    found = [choice_nats("zero_order", searched("zero_order", rounds=rounds)) for rounds in (1, 2, 5)]
    assert found == pytest.approx([rounds * math.log(1 + 5) for rounds in (1, 2, 5)])  # a pivot and four neighbours


def test_what_only_chooses_is_counted_and_what_does_not_depend_on_samples_is_nothing():
    best = searched("best_of_n", n=7)
    assert choice_nats("best_of_n", best) == pytest.approx(best_of_n_nats(7))
    assert best.rounds == (4, 3)
    assert choice_nats("zero_order", searched("zero_order", rounds=3), blind=True) == 0
    assert choice_nats("unguided", searched("unguided", n=7), blind=True) == 0


def test_a_choice_by_what_could_be_scored_is_no_blind_one():
    class Sometimes(RandomScore):
        def draw(self, sample):
            value = super().draw(sample)
            return value if value > 0.4 else math.nan

    found = run(SEARCHES["unguided"], TURBO, Sometimes(), "a star", n=7)
    assert found.unscored
    assert choice_nats("unguided", found, blind=True) == pytest.approx(best_of_n_nats(7))


@pytest.mark.parametrize("branch", [[3, 2], [1, 3], [3, 1]])
def test_what_was_chosen_chunk_by_chunk_is_not_known(branch):
    found = run(SEARCHES["tree_of_frames"], ToyChunks(), RandomScore(), "a clip", branch=branch, seed=1)
    assert math.isnan(choice_nats("tree_of_frames", found))


def test_gradients_have_a_first_order_figure_and_no_divergence():
    climbed = searched("reno", iterations=4, seed=3)
    assert math.isnan(choice_nats("reno", climbed))
    recipe = (("gaussian", 3), exact(randn([3], SHAPE) + 0.5))
    assert first_order_nats(recipe, SHAPE) == pytest.approx(16 * 0.125, rel=1e-5)
    assert first_order_nats(climbed.best.recipe, SHAPE) > 0


def test_turns_shift_nothing():
    moved = (("gaussian", 3), ("nearby", 4, 0.2), ("nearby", 5, 0.1))
    assert first_order_nats(moved, SHAPE) == 0
    shifted = (("gaussian", 3), exact(randn([3], SHAPE) + 0.5), ("nearby", 4, 0.2))
    assert first_order_nats(shifted, SHAPE) == pytest.approx(16 * 0.125, rel=1e-5)


def test_every_noise_that_moved_is_counted():
    start = [randn([3], SHAPE), *(step_noise([(("gaussian", 3),)], step, SHAPE) for step in (1, 2))]
    moved = (("gaussian", 3), exact(torch.cat(start) + torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1)))
    assert first_order_nats(moved, SHAPE) == pytest.approx(16 * (0.25 + 1) / 2, rel=1e-5)
    assert first_order_nats(moved[:1], SHAPE) == 0
    assert first_order_nats((("gaussian", 3), exact(torch.cat(start))), SHAPE) == 0


def test_dno_pays_for_the_noises_of_its_steps():
    model = GaussianFlow(SHAPE, num_steps=3, churn=0.6)
    best = run(SEARCHES["dno"], model, LINEAR, "a star", iterations=4, lr=0.1, regularise="none", seed=5).best
    pairs = [(step_noise([recipe], s, SHAPE) for recipe in (best.recipe, best.recipe[:1])) for s in range(3)]
    shifts = [float((moved - plain).square().sum() / 2) for moved, plain in pairs]
    assert first_order_nats(best.recipe, SHAPE) == pytest.approx(sum(shifts), rel=1e-5)
    assert sum(shifts) > 1.5 * shifts[0]
