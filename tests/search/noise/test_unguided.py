from __future__ import annotations

import pytest
import torch

from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.unguided import unguided
from gensearch.testing.setting import Unscorable
from gensearch.testing.verifiers import LinearScore

MODEL = GaussianTurbo((1, 1, 1), std=1.0)
VERIFIER = LinearScore(torch.ones(1, 1, 1))


def test_it_tries_and_pays_what_best_of_n_does():
    searches = (unguided, best_of_n)
    control, guided = (list(stream(search, MODEL, VERIFIER, "a star", n=11, seed=4)) for search in searches)
    assert [p.round.recipes for p in control] == [p.round.recipes for p in guided]
    assert control[-1].ledger.spent == guided[-1].ledger.spent
    for mine, other in zip(control, guided, strict=True):
        assert torch.equal(mine.round.media, other.round.media)
        assert torch.equal(mine.round.scores.parts["linear"], other.round.scores.total)


@pytest.fixture(scope="module")
def picks():
    return [run(unguided, MODEL, VERIFIER, "a star", n=4, seed=seed).best for seed in range(400)]


def test_it_gains_nothing_where_best_of_n_gains_an_order_statistic(picks):
    gain = torch.tensor([pick.parts["linear"] for pick in picks]) - MODEL.condition("a star").item()
    error = 400**-0.5  # 0.05; best-of-4 would gain 1.03
    assert abs(gain.mean().item()) <= 3 * error
    assert abs(gain.std().item() - 1) <= 3 * error


def test_every_sample_wins_equally_often(picks):
    wins = torch.tensor([pick.id for pick in picks]).bincount(minlength=4)
    assert wins.shape == (4,)
    assert float(((wins - 100) ** 2 / 100).sum()) < 11.3  # chi-squared, 3 degrees of freedom, p = 0.01


def test_what_could_not_be_scored_still_loses():
    verifier = Unscorable(VERIFIER, 0.2)
    outcome = run(unguided, MODEL, verifier, "a star", n=40)
    assert outcome.unscored == verifier.refused > 0
    assert outcome.best.parts["unscorable"] > float("-inf")


def test_its_scores_are_uniform():
    drawn = torch.cat([p.round.scores.total for p in stream(unguided, MODEL, VERIFIER, "a star", n=400)])
    assert bool(drawn.ge(0).all() & drawn.lt(1).all())
    assert abs(drawn.mean().item() - 0.5) <= 3 * (1 / 12) ** 0.5 / 400**0.5
    assert len(drawn.unique()) == 400


def test_a_ticket_belongs_to_its_seed():
    alone = run(unguided, MODEL, VERIFIER, "a star", n=1, seed=9).best
    among = next(stream(unguided, MODEL, VERIFIER, "a cross", n=4, seed=9)).round
    assert among.scores.total[0].item() == pytest.approx(alone.score, abs=0)
