"""The divergence of what a job returns: no number for what is not known, and the right one for what is."""

from __future__ import annotations

import math

import pytest
import torch

from gensearch.core.divergence import best_of_n_nats, chain_nats, shift_nats
from gensearch.core.noise import gaussian, randn, remake
from gensearch.engine.job import Job
from gensearch.engine.law import Law, law
from gensearch.engine.run import result, start
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search import SEARCHES
from gensearch.testing.verifiers import LinearScore
from verifiers.combine import Panel
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness

SHAPE = (1, 4, 4)
SHIFT = 0.25 * randn([9], SHAPE)
LINEAR = LinearScore(randn([4], SHAPE)[0])


class Shifted:
    """Noise moved by a constant."""

    def __call__(self, model, prompts, seeds):
        return gaussian(model, prompts, seeds) + SHIFT

    def log_ratio(self, model, prompts, seeds):
        x = randn(seeds, SHAPE)
        return (x * SHIFT).flatten(1).sum(1) + shift_nats(SHIFT)


class Silent:
    """The same without saying how far it is."""

    def __call__(self, model, prompts, seeds):
        return gaussian(model, prompts, seeds) + SHIFT


def found(search: str, verifier=LINEAR, seed: int = 5, model=None, select=None, **changes) -> Law:
    job = Job(model or GaussianTurbo(SHAPE), SEARCHES[search], Panel(verifier, select)).changed(**changes)
    *_, last = start(job, "a star", seed)
    return law(job, "a star", result(last))


@pytest.mark.parametrize(
    ("search", "knobs", "kl"),
    [
        ("best_of_n", {"n": 1}, 0.0),
        ("best_of_n", {"n": 9}, best_of_n_nats(9)),
        ("best_of_n", {"compute": 6}, best_of_n_nats(6)),
        ("zero_order", {"rounds": 3, "neighbours": 2}, chain_nats([3, 2, 2])),
        ("unguided", {"n": 9}, 0.0),
        ("unguided", {"compute": 30}, 0.0),
    ],
)
def test_what_chooses_is_bounded_and_shifts_nothing(search, knobs, kl):
    assert list(found(search, **knobs)) == pytest.approx([kl, 0.0])


@pytest.mark.parametrize(("search", "knobs"), [("best_of_n", {"n": 9}), ("zero_order", {"rounds": 3})])
def test_a_random_verifier_moves_nothing_unless_another_one_selects(search, knobs):
    assert found(search, RandomScore(), **knobs).kl == 0
    assert found(search, RandomScore(), select=LINEAR, **knobs).kl > 0.5
    assert found(search, LINEAR, select=RandomScore(), **knobs).kl > 0.5  # a bound still, if a loose one


def test_gradients_have_no_divergence_that_is_known():
    climbed = found("reno", iterations=4)
    assert math.isnan(climbed.kl)
    assert climbed.kl_first_order > 0


def test_a_choice_of_tokens_is_bounded_and_their_noise_is_no_shift():
    model, red = ToyTokens(), Redness()
    chosen = found("best_of_n", red, model=model, n=4)
    assert chosen.kl == pytest.approx(best_of_n_nats(4))
    assert math.isnan(chosen.kl_first_order)
    assert all(map(math.isnan, found("suffix_mcmc", red, model=model, iterations=3)))


def test_a_proposal_adds_the_ratio_of_its_own_densities_at_the_winner():
    both = found("best_of_n", n=4, propose=Shifted())
    job = Job(GaussianTurbo(SHAPE), SEARCHES["best_of_n"], Panel(LINEAR)).changed(n=4, propose=Shifted())
    *_, last = start(job, "a star", 5)
    x = remake(result(last).best.recipe, SHAPE) - SHIFT
    ratio = float((x * SHIFT).sum() + SHIFT.square().sum() / 2)
    assert both.kl == pytest.approx(best_of_n_nats(4) + ratio, rel=1e-5)
    assert both.kl_first_order == pytest.approx(float(SHIFT.square().sum() / 2), rel=1e-5)


def test_the_mean_over_outcomes_is_the_divergence_of_a_constant_shift():
    values = torch.tensor([found("best_of_n", n=1, seed=seed, propose=Shifted()).kl for seed in range(150)])
    truth = float(SHIFT.square().sum() / 2)
    assert abs(float(values.mean()) - truth) < 4 * (2 * truth / 150) ** 0.5  # x.f has the variance |f|^2


def test_a_proposal_that_does_not_say_how_far_it_is_leaves_a_dash():
    silent = found("best_of_n", n=4, propose=Silent())
    assert math.isnan(silent.kl)
    assert silent.kl_first_order == pytest.approx(float(SHIFT.square().sum() / 2), rel=1e-5)


def test_a_search_that_was_stopped_from_outside_has_no_bound():
    job = Job(GaussianTurbo(SHAPE), SEARCHES["best_of_n"], Panel(LINEAR)).changed(n=9)
    last = next(start(job, "a star", 5))
    assert math.isnan(law(job, "a star", result(last, closed=True)).kl)


def test_what_does_not_fit_in_memory_is_said_and_left_out():
    class Large(Shifted):
        def log_ratio(self, model, prompts, seeds):
            raise torch.OutOfMemoryError("no room")

    with pytest.warns(UserWarning, match="do not fit in memory"):
        assert math.isnan(found("best_of_n", n=2, propose=Large()).kl)
