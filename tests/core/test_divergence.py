from __future__ import annotations

import math

import pytest
import torch

from gensearch.core.divergence import best_of_n_nats, moved_nats, shift_nats, spent_nats
from gensearch.core.noise import exact, randn, remake, step_noise
from gensearch.engine.run import run
from gensearch.models.toy.chunks import ToyChunks
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search import SEARCHES
from gensearch.testing.verifiers import LinearScore
from verifiers.controls.random import RandomScore

SHAPE = (1, 4, 4)


def test_a_shift_costs_half_its_square():
    assert shift_nats(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist() == [12.5, 0.5]


@pytest.mark.parametrize(("n", "nats"), [(1, 0.0), (2, math.log(2) - 0.5), (50, math.log(50) - 0.98)])
def test_a_choice_among_n(n, nats):
    assert best_of_n_nats(n) == pytest.approx(nats)


def test_best_of_n_is_paid_by_its_starts_and_gradients_by_their_shift():
    model, verifier = GaussianTurbo(SHAPE), LinearScore(randn([4], SHAPE)[0])
    best = run(SEARCHES["best_of_n"], model, verifier, "a star", n=7)
    assert spent_nats(best.best.recipe, best.lineage, SHAPE) == pytest.approx(best_of_n_nats(7))
    climbed = run(SEARCHES["reno"], model, verifier, "a star", iterations=4, seed=3)
    end = randn([3], SHAPE) + 0.5
    recipe = (("gaussian", 3), exact(end))
    assert spent_nats(recipe, climbed.lineage, SHAPE) == pytest.approx(16 * 0.125, rel=1e-5)
    assert spent_nats(climbed.best.recipe, climbed.lineage, SHAPE) > 0


@pytest.mark.parametrize("branch", [[3, 2], [1, 3]])
def test_what_was_chosen_chunk_by_chunk_is_not_counted(branch):
    model = ToyChunks()
    found = run(SEARCHES["tree_of_frames"], model, RandomScore(), "a clip", branch=branch, seed=1)
    assert math.isnan(spent_nats(found.best.recipe, found.lineage, model.noise_shape))


def test_every_noise_that_moved_is_counted():
    start = [randn([3], SHAPE), *(step_noise([(("gaussian", 3),)], step, SHAPE) for step in (1, 2))]
    moved = (("gaussian", 3), exact(torch.cat(start) + torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1)))
    assert moved_nats(moved, SHAPE) == pytest.approx(16 * (0.25 + 1) / 2, rel=1e-5)
    assert moved_nats(moved[:1], SHAPE) == 0
    assert moved_nats((("gaussian", 3), exact(torch.cat(start))), SHAPE) == 0


def test_dno_pays_for_the_noises_of_its_steps():
    model, verifier = GaussianFlow(SHAPE, num_steps=3, churn=0.6), LinearScore(randn([4], SHAPE)[0])
    best = run(SEARCHES["dno"], model, verifier, "a star", iterations=4, lr=0.1, regularise="none", seed=5).best
    first = remake(best.recipe, SHAPE) - randn([5], SHAPE)
    later = [step_noise([best.recipe], step, SHAPE) - step_noise([best.recipe[:1]], step, SHAPE) for step in (1, 2)]
    expected = sum(float(shift.square().sum()) / 2 for shift in (first, *later))
    assert moved_nats(best.recipe, SHAPE) == pytest.approx(expected, rel=1e-5)
    assert expected > 1.5 * float(first.square().sum()) / 2


def test_a_rewritten_prompt_has_no_divergence_from_the_base_model_but_its_noise_has():
    model, verifier = GaussianTurbo(SHAPE), LinearScore(randn([4], SHAPE)[0])
    lineage = run(SEARCHES["best_of_n"], model, verifier, "a star", n=3).lineage
    recipe = (("gaussian", 3), exact(randn([3], SHAPE) + 0.5), ("prompt", "a ring"))
    assert math.isnan(spent_nats(recipe, lineage, SHAPE))
    assert moved_nats(recipe, SHAPE) == pytest.approx(16 * 0.125, rel=1e-5)
