from __future__ import annotations

import pytest
import torch

from gensearch.core.noise import randn, remake
from gensearch.core.price import price
from gensearch.core.types import Recipe
from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.zero_order import zero_order
from gensearch.testing.verifiers import LinearScore
from verifiers.types import Scores

SHAPE = (1, 64, 64)
DIRECTION = torch.nn.functional.normalize(randn([99], SHAPE)[0].flatten(), dim=0).reshape(SHAPE)


class Constant:
    name = "constant"
    differentiable = False

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.zeros(len(media)))


def sigmas(search, seed, **knobs):
    """How far a search gets on a linear reward that is standard normal over 4096 noise dimensions."""
    model = GaussianTurbo(SHAPE, std=1.0)
    outcome = run(search, model, LinearScore(DIRECTION), "a star", seed=seed, **knobs)
    return outcome.best.score - float((DIRECTION * model.condition("a star")).sum())


@pytest.mark.parametrize("seed", [1, 3])
def test_it_climbs_a_linear_reward(seed):
    # Best of as many plain samples: 2.8 on average. Dropping the pivot when no neighbour is better: 4.
    assert sigmas(zero_order, seed, rounds=64, neighbours=4, cosine=0.95, patience=64) >= 7


def test_random_search_does_not_climb():
    assert 1.5 <= sigmas(best_of_n, 1, n=257) <= 4


@pytest.mark.parametrize(("rounds", "neighbours"), [(1, 1), (3, 5), (7, 2)])
def test_evaluations_are_one_plus_rounds_times_neighbours(rounds, neighbours):
    model = GaussianFlow((1, 3, 3), num_steps=3, guidance=2.0)
    verifier = LinearScore(torch.ones(1, 3, 3))
    progress = list(stream(zero_order, model, verifier, "a star", rounds=rounds, neighbours=neighbours))
    evaluations = 1 + rounds * neighbours
    assert progress[-1].ledger.spent == price(model).times(evaluations)
    recipes = [recipe for p in progress for recipe in p.round.recipes]
    assert len(set(recipes)) == len(recipes) == evaluations, "a point was evaluated twice"


def test_each_restart_costs_one_more():
    model = GaussianTurbo((1, 3, 3))
    rounds = list(stream(zero_order, model, Constant(), "a star", rounds=10, neighbours=2, patience=3))
    fresh = [[parent is None for parent in p.round.parents].count(True) for p in rounds]
    assert fresh == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    assert rounds[-1].ledger.spent.nfe == 10 * 2 + 1 + 3


def test_the_pivot_moves_only_to_a_strictly_better_neighbour():
    model = GaussianTurbo((1, 3, 3))
    flat = list(stream(zero_order, model, Constant(), "a star", rounds=9, neighbours=3, patience=99))
    assert {parent for p in flat for parent in p.round.parents} == {None, 0}
    verifier = LinearScore(torch.ones(1, 3, 3))
    best, score = 0, float("-inf")
    for progress in stream(zero_order, model, verifier, "a star", rounds=30, neighbours=3, cosine=0.9, patience=99):
        round = progress.round
        home = {parent for parent in round.parents if parent is not None}
        assert home == {best}
        for id, total in zip(round.ids, round.scores.total.tolist(), strict=True):
            if total > score:
                best, score = id, total
    assert best > 0


@pytest.mark.parametrize("cosine", [0.95, 0.5, -0.3])
def test_neighbours_stay_on_the_sphere_at_their_angle(cosine):
    model = GaussianTurbo(SHAPE)
    recipe_of: dict[int, Recipe] = {}
    for progress in stream(zero_order, model, LinearScore(DIRECTION), "a star", rounds=6, cosine=cosine):
        round = progress.round
        recipe_of |= dict(zip(round.ids, round.recipes, strict=True))
        for id, parent in zip(round.ids, round.parents, strict=True):
            if parent is not None:
                x, y = (remake(recipe_of[i], SHAPE).double().flatten() for i in (parent, id))
                assert float(y.norm() / x.norm()) == pytest.approx(1, abs=1e-6)
                assert float(x @ y / (x.norm() * y.norm())) == pytest.approx(cosine, abs=1e-6)
    assert len(recipe_of) == 25


@pytest.mark.parametrize(("compute", "sizes"), [(1, [1]), (2, [2]), (5, [5]), (7, [5, 2]), (13, [5, 4, 4])])
def test_it_spends_what_it_has_and_no_more(compute, sizes):
    model = GaussianTurbo((1, 3, 3))
    rounds = list(stream(zero_order, model, LinearScore(torch.ones(1, 3, 3)), "a star", compute=compute))
    assert [len(p.round.ids) for p in rounds] == sizes
    assert rounds[-1].ledger.spent.nfe == compute


def test_a_restart_does_not_lose_the_best():
    model = GaussianTurbo((1, 3, 3))
    verifier = LinearScore(torch.ones(1, 3, 3))
    rounds = list(stream(zero_order, model, verifier, "a star", rounds=40, neighbours=1, cosine=0.2, patience=1))
    restarts = sum(p.round.parents[0] is None for p in rounds)
    scores = torch.cat([p.round.scores.total for p in rounds])
    assert restarts > 5
    assert rounds[-1].best is not None
    assert rounds[-1].best.score == scores.max()
    assert scores.argmax() < len(scores) - 2
