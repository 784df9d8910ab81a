"""Divergences of affine maps against their closed form, and what the paper's surrogate leaves out."""

from __future__ import annotations

import math

import pytest
import torch

from gensearch.core.divergence import best_of_n_nats, shift_nats
from hypernoise.objective import (
    Temperature,
    divergence,
    dual_ascent,
    exact_nats,
    log_ratio,
    signs,
    unrolled,
)

D = 12


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def affine(w: torch.Tensor, b: torch.Tensor):
    return lambda x: (x.flatten(1) @ w.T + b).view_as(x)


def gaussian_kl(w: torch.Tensor, b: torch.Tensor) -> float:
    """KL(N(b, (I+W)(I+W)^T) || N(0, I))."""
    m = torch.eye(len(w), dtype=w.dtype) + w
    return float(0.5 * ((m @ m.T).trace() + b @ b - len(w)) - torch.linalg.slogdet(m).logabsdet)


KINDS = {
    "shift": (torch.zeros(D, D, dtype=torch.float64), 0.3 * normal(D, seed=1)),
    "scaling": (0.01 * torch.eye(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)),
    "symmetric": ((s := 0.02 * normal(D, D, seed=2)) + s.T, 0.1 * normal(D, seed=3)),
    "antisymmetric": ((a := 0.003 * normal(D, D, seed=4)) - a.T, torch.zeros(D, dtype=torch.float64)),
    "any": (0.05 * normal(D, D, seed=5), 0.2 * normal(D, seed=6)),
}


def expected(integrand, w: torch.Tensor, b: torch.Tensor) -> float:
    """E over x ~ N(0, I) of an integrand that is quadratic in x: exact from 2d + 1 points."""
    points = torch.cat([torch.eye(D, dtype=torch.float64), -torch.eye(D, dtype=torch.float64)]) * D**0.5
    return float(integrand(points.view(2 * D, 3, 2, 2)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_divergence_is_that_of_gaussians(kind):
    w, b = KINDS[kind]
    found = expected(lambda x: exact_nats(affine(w, b), x), w, b)
    assert found == pytest.approx(gaussian_kl(w, b), abs=1e-10)


@pytest.mark.parametrize(("kind", "low", "high"), [("shift", 1, 1), ("scaling", 0.49, 0.51)])
def test_the_surrogate_is_right_for_shifts_and_half_for_scalings(kind, low, high):
    w, b = KINDS[kind]
    surrogate = expected(lambda x: shift_nats(affine(w, b)(x)), w, b)
    assert low - 1e-9 <= surrogate / gaussian_kl(w, b) <= high + 1e-9


def test_the_surrogate_charges_for_rotations_that_cost_nothing():
    w, b = KINDS["antisymmetric"]
    assert expected(lambda x: shift_nats(affine(w, b)(x)), w, b) > 100 * gaussian_kl(w, b)


@pytest.mark.parametrize("kind", ["symmetric", "antisymmetric", "any"])
@pytest.mark.parametrize("order", [2, 7])
def test_hutchinsons_estimate_is_unbiased(kind, order):
    w, b = KINDS[kind]
    x = normal(1, 3, 2, 2, seed=9)
    powers = [torch.linalg.matrix_power(w, k).trace() * (-1) ** k / k for k in range(2, order + 1)]
    truth = float(shift_nats(affine(w, b)(x)) + sum(powers))
    draws = torch.stack([divergence(affine(w, b), x, order=order, seeds=[s])[1][0].detach() for s in range(150)])
    error = float(draws.std() / 150**0.5)
    assert abs(float(draws.mean()) - truth) <= 3 * error + 1e-12
    many = divergence(affine(w, b), x, order=order, probes=150, seeds=[1])[1].item()
    assert abs(many - truth) <= 3 * error + 1e-12


def test_a_high_order_is_the_full_divergence():
    w, b = KINDS["any"]
    x = normal(2, 3, 2, 2, seed=9)
    powers = sum(torch.linalg.matrix_power(w, k).trace() * (-1) ** k / k for k in range(2, 13))
    assert torch.allclose(shift_nats(affine(w, b)(x)) + powers, exact_nats(affine(w, b), x), atol=1e-9)


def test_it_can_be_trained_through():
    w = (0.05 * normal(D, D, seed=5)).requires_grad_()
    x = normal(4, 3, 2, 2, seed=9)
    f, nats = divergence(affine(w, torch.zeros(D, dtype=torch.float64)), x, order=2, probes=3, seeds=range(4))
    (slope,) = torch.autograd.grad(nats.sum(), w)
    step = 1e-6 * normal(D, D, seed=8)
    up, down = (
        divergence(affine(w.detach() + s, torch.zeros(D, dtype=torch.float64)), x, order=2, probes=3, seeds=range(4))[
            1
        ].sum()
        for s in (step, -step)
    )
    assert ((up - down) / 2).item() == pytest.approx((slope * step).sum().item(), rel=1e-5)
    assert f.shape == x.shape


@pytest.mark.parametrize("lam", [0.5, 2.0, 4.0])
@pytest.mark.parametrize(("order", "power"), [(1, 2), (40, 1)])
def test_a_quadratic_reward_shows_the_surrogates_loss_of_variance(lam, order, power):
    """r = -lam/2 (x - m)^2 in one dimension, f(x) = w x + b: the optimum has variance 1 / (1 + lam), or its square."""
    m, x = 1.5, torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1)  # all moments up to two
    w, b = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    descent = torch.optim.LBFGS([w, b], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        descent.zero_grad()
        f, nats = divergence(lambda x: w * x + b, x, order=order, seeds=[1, 2])
        value = (lam / 2 * (x + f - m).square().sum(1) + nats).mean()
        value.backward()
        return value

    descent.step(loss)
    assert b.item() == pytest.approx(lam * m / (1 + lam), rel=1e-5)
    assert ((1 + w) ** 2).item() == pytest.approx((1 + lam) ** -power, rel=1e-5)


@pytest.mark.parametrize(("n", "nats"), [(1, 0), (4, 0.636), (16, 1.835), (50, 2.932), (100, 3.615)])
def test_best_of_n_in_nats(n, nats):
    assert best_of_n_nats(n) == pytest.approx(nats, abs=1e-3)


def test_both_conventions_of_the_temperature_are_one_loss():
    f = normal(2, 4, 8, 8, seed=3)
    for weight, elements in ((0.5, 256), (2.0, 256)):
        temperature = Temperature.from_mean(weight, elements)
        assert torch.allclose(temperature.value * shift_nats(f), weight * f.square().flatten(1).mean(1))
        assert temperature.as_mean(elements) == pytest.approx(weight)
    assert Temperature.from_mean(0.5, 16384).value == pytest.approx(1 / 16384)  # the released recipe
    tiled = torch.cat([f, f], 1)
    assert torch.allclose(tiled.square().flatten(1).mean(1), f.square().flatten(1).mean(1))
    assert torch.allclose(shift_nats(tiled), 2 * shift_nats(f))


def test_a_budget_finds_its_temperature():
    """Reward a.x, f = a / temperature: nats are |a|^2 / 2 temperature^2, so the budget decides the temperature."""
    a2, budget, temperature = 9.0, 2.0, Temperature(0.1)
    for _ in range(500):
        temperature = dual_ascent(temperature, a2 / (2 * temperature.value**2), budget)
    assert temperature.value == pytest.approx((a2 / (2 * budget)) ** 0.5, rel=1e-3)
    assert dual_ascent(Temperature(1.0), 1e9, 1.0).value == pytest.approx(math.exp(0.05))


def test_an_order_below_one_and_rows_without_seeds_are_refused():
    with pytest.raises(ValueError, match="order 0 is too low"):
        divergence(lambda x: x, torch.zeros(1, 2), order=0)
    with pytest.raises(ValueError, match="order 2 takes a seed for each of 3 rows, not 1"):
        divergence(lambda x: x, torch.zeros(3, 2), order=2, seeds=[1])


def test_probes_belong_to_their_row():
    seeds = [5, 6, 7]
    together = signs(seeds, (2, 3))
    assert set(together.flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(together, torch.cat([signs([seed], (2, 3)) for seed in seeds]))


@pytest.mark.parametrize(("passes", "gain"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_unrolled_passes_compose_as_steps_do(passes, gain):
    """Each step multiplies by 1 + gain * a and adds gain * b."""
    a, b, x = -0.3, 0.7, normal(2, D, seed=9)
    shift = unrolled(lambda y: a * y + b, passes, gain)(x)
    factor = (1 + gain * a) ** passes
    torch.testing.assert_close(x + shift, factor * x + gain * b * (1 - factor) / (-gain * a))


def test_the_divergence_of_two_passes_is_that_of_their_product():
    w, b = 0.05 * normal(D, D, seed=10), 0.1 * normal(D, seed=11)
    noise = normal(3, D, seed=12)
    _, nats = divergence(unrolled(affine(w, b), 2), noise, order=3, probes=64, seeds=[1, 2, 3])
    both = w @ w + 2 * w
    _, whole = divergence(affine(both, 2 * b + w @ b), noise, order=3, probes=64, seeds=[1, 2, 3])
    torch.testing.assert_close(nats, whole)


LOW_RANK = {
    "rank 1": (0.1 * torch.outer(normal(D, seed=7), normal(D, seed=8)) / D**0.5, 0.2 * normal(D, seed=9)),
    "rank 2": (0.05 * normal(D, 2, seed=10) @ normal(2, D, seed=11) / 2, torch.zeros(D, dtype=torch.float64)),
}


@pytest.mark.parametrize(("w", "b"), [*KINDS.values(), *LOW_RANK.values()])
@pytest.mark.parametrize("order", [2, 4])
def test_the_log_ratio_of_densities_has_the_divergence_of_gaussians_as_its_mean(w, b, order):
    """Only the rest of the series, and the error of Hutchinson's traces, lies between it and the closed form."""
    copies = 200

    def integrand(x):
        rows = x.repeat_interleave(copies, 0)
        return log_ratio(affine(w, b), rows, order=order, seeds=range(len(rows)))

    logdet = float(torch.linalg.slogdet(torch.eye(D, dtype=torch.float64) + w).logabsdet)
    powers = {k: torch.linalg.matrix_power(w, k) for k in range(1, order + 1)}
    kept = -sum((-1) ** k / k * float(power.trace()) for k, power in powers.items())
    deviation = sum(float((power + power.T).norm()) / k for k, power in powers.items()) / 2**0.5  # of v.Wv over signs v
    error = 5 * deviation / (copies * 2 * D) ** 0.5
    assert expected(integrand, w, b) == pytest.approx(gaussian_kl(w, b) + logdet - kept, abs=error + 1e-9)


@pytest.mark.parametrize("kind", ["symmetric", "any"])
def test_the_log_ratio_is_that_of_the_two_densities_at_each_point(kind):
    w, b = KINDS[kind]
    x = normal(3, D, seed=12)
    m = torch.eye(D, dtype=torch.float64) + w
    moved = torch.distributions.MultivariateNormal(b, m @ m.T)
    y = x + affine(w, b)(x)
    truth = moved.log_prob(y) + y.square().sum(1) / 2 + D / 2 * math.log(2 * math.pi)
    rows = x.repeat_interleave(2000, 0)
    found = log_ratio(affine(w, b), rows, order=6, seeds=range(len(rows))).view(3, 2000).mean(1)
    assert torch.allclose(found, truth, atol=5 * float((w + w.T).norm()) / 2000**0.5)
    assert (truth - truth.mean()).abs().max() > 0.2  # it differs from point to point


def test_a_selected_point_has_the_ratio_of_its_own_and_not_the_average_one():
    """A scaling by 1 + s: log q/p grows with |x|^2, so that winners by norm pay more than its mean says."""
    s = 0.3
    f = affine(s * torch.eye(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64))
    far = 2 * torch.ones(1, D, dtype=torch.float64)
    truth = (s + s**2 / 2) * 4 * D - D * math.log(1 + s)
    assert log_ratio(f, far, order=12, probes=1, seeds=[1]).item() == pytest.approx(truth, rel=1e-5)
    assert divergence(f, far, order=12, probes=1, seeds=[1])[1].item() < 0.6 * truth
