"""ReNO against closed forms: its fixed point, its trajectory, exact counts, and rows that do not see each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gensearch.core.ledger import Cost
from gensearch.core.noise import randn, remake
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.black_box import BlackBox
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search.gradient.climb import climb, clip
from gensearch.search.gradient.dno import dno
from gensearch.search.gradient.reno import reno
from gensearch.testing.searches import SearchLaws
from gensearch.testing.setting import Setting
from gensearch.testing.verifiers import LinearScore
from tests.builders.rewards import STAR, Brightness, blind

SHAPE = (1, 8, 8)


class TestRenoKeepsTheLaws(SearchLaws):
    @pytest.fixture
    def search(self):
        return reno

    @pytest.fixture
    def setting(self, search):
        return Setting(search, {"chains": 5, "lr": 0.5}, compute=60, blind=blind)


def setup(d: int = 64, scale: float = 1.0):
    """A model that is linear in its noise, and a linear reward: their slope in noise space."""
    model = GaussianTurbo((1, 8, d // 8), std=0.5)
    direction = scale * randn([4], model.noise_shape)[0]
    return model, LinearScore(direction), 0.5 * direction


def in_double(model):
    """A toy that computes in float64 from now on, plain noise in it, and every noise that the model will start from."""
    model.network.double()
    model.times = model.times.double()
    seen, start = [], model.start

    def noted(prompts, noise):
        seen.append(noise.detach())
        return start(prompts, noise)

    model.start = noted
    return seen, lambda model, prompts, seeds: randn(seeds, model.noise_shape).double()


@pytest.mark.parametrize(("weight", "reward_weight"), [(0.5, 1.0), pytest.param(2.0, 3.0, marks=pytest.mark.slow)])
def test_it_comes_to_rest_where_slope_and_norm_balance(weight, reward_weight):
    model, verifier, slope = setup(scale=0.3)
    slope, verifier.direction = slope.double(), verifier.direction.double()
    a = reward_weight * slope.norm().item()
    free, pull = slope.numel() - 1, a / weight
    knobs = {"lr": 0.2, "momentum": 0.5, "max_norm": 1e6, "regularise": f"{weight}*chi", "reward_weight": reward_weight}
    seen, propose = in_double(model)
    run(reno, model, verifier, STAR, iterations=400, propose=propose, **knobs)
    expected = (pull + (pull**2 + 4 * free) ** 0.5) / 2 * slope / slope.norm()
    assert (seen[-1][0] - expected).norm() < 1e-9 * expected.norm()


@pytest.mark.parametrize(("lr", "momentum", "most"), [(5.0, 0.9, 0.1), (1.5, 0.4, 0.03), (0.2, 0.0, 1e9)])
def test_the_trajectory_is_that_of_the_published_optimiser(lr, momentum, most):
    model, verifier = GaussianFlow(SHAPE, num_steps=2, std=0.7), Brightness()
    knobs = {"lr": lr, "momentum": momentum, "max_norm": most, "regularise": "0.01*chi"}
    seen, propose = in_double(model)
    rounds = list(stream(reno, model, verifier, STAR, seed=3, iterations=6, propose=propose, **knobs))
    assert len(seen) == len(rounds) == 6
    x = torch.nn.Parameter(randn([3], SHAPE).double())
    sgd = torch.optim.SGD([x], lr=lr, momentum=momentum, nesterov=momentum > 0)
    for ours, progress in zip(list(seen), rounds, strict=True):
        assert (ours - x).abs().max() < 1e-12
        assert (remake(progress.round.recipes[0], SHAPE) - x).abs().max() < 1e-5
        sgd.zero_grad()
        norm = x.norm()
        loss = 0.01 * (norm**2 / 2 - (x.numel() - 1) * norm.log())
        media = generate(model, [STAR], x, progress.round.recipes)
        (loss - verifier(media, [STAR]).total.sum()).backward()
        assert x.grad is not None
        x.grad *= min(1.0, most / x.grad.norm().item())  # torch's own clipping adds 1e-6 to the norm
        sgd.step()


@pytest.mark.parametrize(("iterations", "chains", "steps"), [(1, 1, 1), (7, 1, 1), (4, 3, 5)])
def test_n_evaluations_take_n_less_one_backward_passes(iterations, chains, steps):
    model = GaussianFlow(SHAPE, num_steps=steps, guidance=2.0)
    ledger = run(reno, model, Brightness(), STAR, iterations=iterations, chains=chains).ledger
    each = 2 * steps
    assert ledger.spent == Cost(
        nfe=iterations * chains * each,
        backward=(iterations - 1) * chains * each,
        decoded=iterations * chains,
        scored=iterations * chains,
    )


def test_a_budget_counts_a_backward_pass_as_two():
    model = GaussianTurbo(SHAPE)
    for compute, evaluations in ((1, 1), (3, 1), (4, 2), (50, 17)):
        ledger = run(reno, model, Brightness(), STAR, compute=compute).ledger
        assert ledger.spent.nfe == evaluations
        assert ledger.spent.work <= compute


def test_chains_do_not_see_each_other():
    model, verifier = GaussianFlow(SHAPE, num_steps=2, batch_size=2), Brightness()
    knobs: dict[str, Any] = {"iterations": 5, "lr": 1.0}
    together = list(stream(reno, model, verifier, STAR, seed=9, chains=3, **knobs))
    for row in range(3):
        seed = together[0].round.recipes[row][0][1]
        alone = list(stream(reno, model, verifier, STAR, seed=seed, **knobs))
        for one, all_ in zip(alone, together, strict=True):
            assert torch.equal(one.round.media[0], all_.round.media[row])
            assert one.round.recipes[0] == all_.round.recipes[row]


def test_the_best_is_chosen_by_reward_alone_and_is_not_overwritten():
    model, verifier, _ = setup()
    # A heavy norm penalty drags the noise away from what the reward likes.
    outcome = run(reno, model, verifier, STAR, iterations=30, reward_weight=0.0, regularise="5*shift+5*chi", lr=0.5)
    rounds = list(stream(reno, model, verifier, STAR, iterations=30, lr=0.5))
    best = max(rounds, key=lambda p: p.round.scores.total[0].item())
    found = rounds[-1].best
    assert found is not None
    assert found.score == best.round.scores.total[0].item()
    again = generate(model, [STAR], remake(found.recipe, model.noise_shape), [found.recipe])
    assert torch.equal(again[0].detach(), found.media)
    assert outcome.best.score <= found.score


def test_it_beats_as_many_plain_samples_on_a_linear_reward():
    from gensearch.search.noise.best_of_n import best_of_n

    model, verifier, _ = setup()
    gain = run(reno, model, verifier, STAR, compute=50, lr=2.0, max_norm=1.0).best.score
    assert gain > run(best_of_n, model, verifier, STAR, compute=50).best.score + 1


def test_gradients_are_those_of_finite_differences():
    model, verifier = GaussianFlow(SHAPE, num_steps=3, guidance=1.5), Brightness()
    _, propose = in_double(model)
    x = propose(model, [STAR] * 2, [1, 2])
    recipes = [(("gaussian", 1),)] * 2

    def total(noise):
        with torch.no_grad():
            return verifier(generate(model, [STAR] * 2, noise, recipes), [STAR] * 2).total

    from gensearch.core.ledger import Ledger

    found = climb(model, verifier, [STAR] * 2, [x], recipes)
    (slope,) = found.slope(model, Ledger())
    for seed in range(20):
        direction = randn([100 + seed], SHAPE).double()
        numeric = (total(x + 1e-5 * direction) - total(x - 1e-5 * direction)) / 2e-5
        exact = (slope * direction).flatten(1).sum(1)
        assert torch.allclose(exact, numeric, rtol=1e-6, atol=1e-9)


def test_each_sample_is_clipped_by_its_own_norm():
    gradient = torch.stack([torch.full((2, 3), 10.0), torch.full((2, 3), 0.01), torch.zeros(2, 3)])
    cut = clip(gradient, 0.5)
    assert cut.flatten(1).norm(dim=1).tolist() == pytest.approx([0.5, 0.01 * 6**0.5, 0])
    assert torch.equal(cut[1], gradient[1])


def test_models_and_verifiers_without_gradients_are_refused_with_a_way_out():
    def whole(prompts, noise):
        return noise.sigmoid().expand(-1, 3, -1, -1)

    with pytest.raises(ValueError, match="reno needs gradients, and none pass through whole"):
        run(reno, BlackBox(whole, SHAPE), Brightness(), STAR, iterations=2)

    class Blind(Brightness):
        differentiable = False

    with pytest.raises(ValueError, match="brightness gives none; take a CLIP score, dno or zero_order"):
        run(reno, GaussianTurbo(SHAPE), Blind(), STAR, iterations=2)


def test_it_works_where_the_caller_switched_gradients_off_for_good():
    with torch.inference_mode():
        inside = run(reno, GaussianTurbo(SHAPE), Brightness(), STAR, iterations=3)
    outside = run(reno, GaussianTurbo(SHAPE), Brightness(), STAR, iterations=3)
    assert inside.best.recipe == outside.best.recipe


@pytest.mark.parametrize("search", [reno, dno])
def test_noise_in_half_precision_climbs_like_the_same_noise_in_full(search, monkeypatch):
    def half(model, prompts, seeds):
        return randn(seeds, model.noise_shape).half()

    def full(*given):
        return half(*given).float()

    model = GaussianFlow(SHAPE, num_steps=2)
    start, seen = model.start, []

    def noted(prompts, noise):
        seen.append(noise)
        return start(prompts, noise)

    monkeypatch.setattr(model, "start", noted)
    knobs: dict[str, Any] = {"iterations": 4, "regularise": "0.1*chi", "lr": 0.3}
    one, other = (
        [p.round.recipes for p in stream(search, model, Brightness(), STAR, propose=propose, **knobs)]
        for propose in (half, full)
    )
    assert one == other
    assert {noise.dtype for noise in seen} == {torch.float32}
    assert all(noise.requires_grad for noise in seen)
