from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from gensearch.core.noise import Rng, gaussian, randn
from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing.verifiers import LinearScore
from verifiers.types import Scores

# E[max of n standard normals] by quadrature.
EXPECTED_MAX = {1: 0.0, 2: 0.5642, 3: 0.8463, 4: 1.0294, 5: 1.1630, 8: 1.4236, 11: 1.5864, 16: 1.7660}
RUNS = 500


@pytest.fixture(scope="module")
def rewards():
    """Rewards [RUNS, 16] of independent searches, standard normal by construction."""
    model = GaussianTurbo((1, 1, 1), std=1.0, batch_size=16)
    verifier = LinearScore(torch.ones(1, 1, 1))
    mean = float(model.condition("a star"))
    runs = []
    for seed in range(RUNS):
        totals = [p.round.scores.total for p in stream(best_of_n, model, verifier, "a star", n=16, seed=seed)]
        runs.append(torch.cat(totals).double().numpy() - mean)
    return np.stack(runs)


@pytest.mark.parametrize("n", EXPECTED_MAX)
def test_the_best_of_n_is_the_largest_order_statistic(rewards, n):
    best = rewards[:, :n].max(1)
    error = best.std() / RUNS**0.5  # 0.024 to 0.045
    assert abs(best.mean() - EXPECTED_MAX[n]) <= 3.5 * error


@pytest.mark.parametrize("n", [2, 3, 4, 8, 11, 16])
def test_the_winner_is_log_n_away_from_the_base(rewards, n):
    below = np.array([NormalDist().cdf(best) for best in rewards[:, :n].max(1)])
    gap = math.log(n) + (n - 1) * np.log(below)  # log density ratio of the winner
    assert abs(gap.mean() - (math.log(n) - (n - 1) / n)) <= 3.5 * gap.std() / RUNS**0.5


def test_the_returned_sample_is_the_maximum(rewards):
    model = GaussianTurbo((1, 1, 1), std=1.0, batch_size=16)
    verifier = LinearScore(torch.ones(1, 1, 1))
    outcome = run(best_of_n, model, verifier, "a star", n=16, seed=RUNS - 1)
    assert outcome.best.id == rewards[-1].argmax()
    assert outcome.best.recipe == (("gaussian", Rng(RUNS - 1).seeds(16)[outcome.best.id]),)


@pytest.mark.parametrize(
    ("batch_size", "n", "sizes"),
    [(1, 11, [4, 4, 3]), (4, 11, [4, 4, 3]), (5, 11, [4, 4, 3]), (64, 11, [11]), (16, 17, [8, 9]), (4, 9, [4, 2, 3])],
)
def test_rounds_fill_the_physical_batch_and_none_is_of_one(batch_size, n, sizes):
    model = GaussianTurbo((1, 2, 2), batch_size=batch_size)
    rounds = list(stream(best_of_n, model, LinearScore(torch.ones(1, 2, 2)), "a star", n=n))
    assert [len(p.round.ids) for p in rounds] == sizes


class BlindToTheLast:
    """Cannot score the fifth sample that it is given."""

    name = "blind"
    differentiable = False
    seen = 0

    def __call__(self, media, prompts, *, progress=1.0):
        total = media.flatten(1).sum(1)
        total[torch.arange(self.seen, self.seen + len(total)) == 4] = torch.nan
        self.seen += len(total)
        return Scores(total)


def test_an_unscorable_last_sample_does_not_cost_the_others():
    outcome = run(best_of_n, GaussianTurbo((1, 2, 2), batch_size=4), BlindToTheLast(), "a star", n=5)
    assert outcome.unscored == 1
    assert outcome.best.id < 4


def test_batch_size_changes_nothing_but_the_rounds():
    verifier = LinearScore(torch.ones(1, 2, 2))
    outcomes = [
        run(best_of_n, GaussianTurbo((1, 2, 2), batch_size=size), verifier, "a star", n=21, seed=3)
        for size in (1, 3, 8)
    ]
    assert len({outcome.best.id for outcome in outcomes}) == 1
    assert all(torch.equal(outcome.best.media, outcomes[0].best.media) for outcome in outcomes)


def test_a_proposal_replaces_the_noise():
    def far_out(model, prompts, seeds):
        return torch.full((len(seeds), *model.noise_shape), 3.0)

    model = GaussianTurbo((1, 1, 1), std=1.0)
    verifier = LinearScore(torch.ones(1, 1, 1))
    best = run(best_of_n, model, verifier, "a star", n=2, propose=far_out).best
    assert best.score == pytest.approx(3 + float(model.condition("a star")), abs=1e-5)


def test_plain_noise_that_is_asked_for_by_name_is_known_by_its_seeds():
    model = GaussianTurbo((1, 4, 4))
    verifier = LinearScore(randn([4], (1, 4, 4))[0])
    asked, usual = (run(best_of_n, model, verifier, "a star", n=2, **given) for given in ({"propose": gaussian}, {}))
    assert [node.recipe for node in asked.lineage] == [node.recipe for node in usual.lineage]
