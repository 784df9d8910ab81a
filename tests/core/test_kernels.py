from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gensearch.core import kernels as steps
from gensearch.core.noise import randn

f64 = torch.float64


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=f64)


def paths(t: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Signal and noise of the three paths at the same signal-to-noise ratio, as flow time t."""
    norm = ((1 - t) ** 2 + t**2) ** 0.5
    return {"vp": ((1 - t) / norm, t / norm), "k": (torch.ones_like(t), t / (1 - t)), "flow": (1 - t, t)}


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    clean, eps = randn([1, 2, 3], (2, 4)), randn([4, 5, 6], (2, 4))
    return clean.double(), eps.double()


T = column(0.9, 0.5, 0.07)


def mix(clean: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
    a, b = steps.rows(clean, a, b)
    return a * clean + b * eps


# --- what the network says


@pytest.mark.parametrize("path", ["vp", "k", "flow"])
def test_noise_and_clean_estimate_determine_each_other(pair, path):
    clean, eps = pair
    a, b = paths(T)[path]
    x = mix(clean, eps, a, b)
    torch.testing.assert_close(steps.eps_to_clean(x, eps, a, b), clean)
    torch.testing.assert_close(steps.clean_to_eps(x, clean, a, b), eps)


def test_v_means_the_same_on_both_of_its_paths(pair):
    clean, eps = pair
    a, b = paths(T)["vp"]
    v = mix(eps, -clean, a, b)
    x = mix(clean, eps, a, b)
    torch.testing.assert_close(steps.v_to_clean(x, v, a, b), clean)
    torch.testing.assert_close(steps.v_to_eps(x, v, a, b), eps)
    _, sigma = paths(T)["k"]
    torch.testing.assert_close(steps.k_v_to_clean(mix(clean, eps, torch.ones_like(sigma), sigma), v, sigma), clean)


def test_flow_velocity(pair):
    clean, eps = pair
    x = mix(clean, eps, *paths(T)["flow"])
    torch.testing.assert_close(steps.flow_to_clean(x, eps - clean, T), clean)
    torch.testing.assert_close(steps.flow_to_eps(x, eps - clean, T), eps)


# --- deterministic steps


def test_the_three_ode_steps_are_one_map_in_three_coordinates(pair):
    clean, eps = pair
    later = column(0.6, 0.1, 0.0)
    here, there = paths(T), paths(later)
    wanted = {name: mix(clean, eps, *there[name]) for name in here}
    k = steps.euler(mix(clean, eps, *here["k"]), clean, here["k"][1], there["k"][1])
    flow = steps.flow_euler(mix(clean, eps, *here["flow"]), eps - clean, T, later)
    vp = steps.ddim(clean, eps, here["vp"][0] ** 2, there["vp"][0] ** 2, torch.zeros(3, dtype=f64))
    for step, name in [(k, "k"), (flow, "flow"), (vp, "vp")]:
        torch.testing.assert_close(step.mean, wanted[name])
        assert step.std.shape == clean.shape
        assert not step.std.any()


@pytest.mark.parametrize("abar", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_lands_on_the_next_marginal_at_any_eta(pair, abar, eta):
    clean, eps = pair
    abar_to = column(abar + 0.1, 0.8, 1.0)
    mean, std = steps.ddim(clean, eps, column(abar, abar, abar), abar_to, column(eta, eta, eta))
    a, b = steps.rows(clean, abar_to**0.5, 1 - abar_to)
    kept = (mean - a * clean) / eps
    torch.testing.assert_close(kept**2 + std**2, b.expand_as(eps), atol=1e-12, rtol=0)
    assert std[:2].min() > 0
    assert not std[2].any()


def test_full_eta_from_pure_noise_is_finite_in_single_precision():
    clean, eps = randn(range(200), (3,)), randn(range(200, 400), (3,))
    abar_to = torch.linspace(0.001, 0.999, 200)
    mean, std = steps.ddim(clean, eps, torch.zeros(200), abar_to, torch.ones(200))
    assert mean.isfinite().all()
    assert std.isfinite().all()


def test_ancestral_euler_is_ddim_with_full_eta(pair):
    clean, eps = pair
    later = column(0.6, 0.1, 0.0)
    (a, _), (_, sigma) = paths(T)["vp"], paths(T)["k"]
    (a_to, _), (_, sigma_to) = paths(later)["vp"], paths(later)["k"]
    ddim = steps.ddim(clean, eps, a**2, a_to**2, torch.ones(3, dtype=f64))
    euler = steps.euler_ancestral(mix(clean, eps, torch.ones_like(sigma), sigma), clean, sigma, sigma_to)
    (scale,) = steps.rows(clean, a_to)
    torch.testing.assert_close(euler.mean * scale, ddim.mean)
    torch.testing.assert_close(euler.std * scale, ddim.std)


# --- Gaussian data, whose exact velocity is known: mean and variance of every step in closed form


def velocity(x: Tensor, t: Tensor, mean: float, var: float) -> Tensor:
    """E[noise - clean | x_t] for clean ~ N(mean, var); x [n, *], t [n]."""
    (t,) = steps.rows(x, t)
    gain = (t - (1 - t) * var) / ((1 - t) ** 2 * var + t**2)
    return gain * (x - (1 - t) * mean) - mean


def moments(num_steps: int, mean: float, var: float, scale: float, power: float) -> tuple[float, float]:
    """Mean and variance at t = 0 of the discretised SDE, exactly: every step is affine with Gaussian noise.

    All steps are taken in one call, one per row, at x = 0 and x = 1.
    """
    grid = torch.linspace(1, 0, num_steps + 1, dtype=f64)
    probe = column(0.0, 1.0).expand(num_steps, 2)
    v = velocity(probe, grid[:-1], mean, var)
    kernel = steps.flow_sde(probe, v, grid[:-1], grid[1:], scale=scale, power=power)
    m, s = 0.0, 1.0
    for (at_0, at_1), std in zip(kernel.mean.tolist(), kernel.std[:, 0].tolist(), strict=True):
        m, s = at_0 + (at_1 - at_0) * m, (at_1 - at_0) ** 2 * s + std**2
    return m, s


def test_the_sde_of_a_flow_keeps_its_marginals():
    found = [moments(n, 0.7, 1.69, scale=3, power=2) for n in (10, 25, 50, 200)]
    assert [m for m, _ in found] == pytest.approx([0.7] * 4, abs=0.01)
    simulated = [1.647, 1.657, 1.672, 1.684]  # elsewhere, with some thousand samples
    assert [s for _, s in found] == pytest.approx(simulated, abs=0.012)


def test_without_diffusion_it_is_eulers_ode():
    found = [moments(n, 0.7, 1.69, scale=0, power=2)[1] for n in (10, 25, 50, 200)]
    assert found == pytest.approx([1.300, 1.531, 1.609, 1.664], abs=0.012)


@pytest.mark.parametrize(("scale", "power"), [(0, 1), (1, 0.5), (2, 1), (3, 2), (1.5, 1.5)])
@pytest.mark.parametrize(("mean", "var"), [(0.7, 1.69), (-1.3, 0.4)])
def test_its_error_halves_with_the_step_whatever_the_diffusion(mean, var, scale, power):
    errors = []
    for n in (200, 400, 800):
        m, s = moments(n, mean, var, scale, power)
        assert m == pytest.approx(mean, abs=6 / n)
        errors.append(s - var)
    assert abs(errors[0]) < 0.05
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 1.6 < coarse / fine < 2.6


def test_a_wrong_score_sign_would_show():
    """The same recursion with the noise estimate negated leaves the marginal: the tests above can fail."""
    t, probe = column(0.5, 0.5), column(0.0, 1.0)
    right = steps.flow_sde(probe, velocity(probe, t, 0.0, 1.0), t, t - 0.1, scale=2, power=1)
    v = velocity(probe, t, 0.0, 1.0)
    ode = steps.flow_euler(probe, v, t, t - 0.1)
    slope = (right.mean[1] - right.mean[0]).item()
    assert slope < (ode.mean[1] - ode.mean[0]).item()
    assert right.std[0].item() == pytest.approx(2 * 0.5 * math.sqrt(0.1))


# --- the forward kernel


@pytest.mark.parametrize("path", ["vp", "k", "flow"])
def test_renoising_a_marginal_gives_the_noisier_marginal(path):
    here, there = column(0.2, 0.0, 0.3), column(0.6, 0.8, 0.31)
    (a, b), (a_to, b_to) = paths(here)[path], paths(there)[path]
    kernel = steps.forward(column(1.0, 1.0, 1.0)[:, None], a, b, a_to, b_to)
    mean, var = 0.7, 1.69
    keep, added = kernel.mean[:, 0], kernel.std[:, 0]
    torch.testing.assert_close(keep * a * mean, a_to * mean)
    torch.testing.assert_close(keep**2 * (a**2 * var + b**2) + added**2, a_to**2 * var + b_to**2)


def test_renoised_samples_pass_a_normality_test():
    """3,000 samples taken from level 0.2 to 0.6 of the flow path; KS distance below its 1 % point 1.63 / sqrt(n)."""
    n, mean, var = 3000, 0.7, 1.69
    z = randn(range(3), (n,)).double()
    (a, b), (a_to, b_to) = paths(column(0.2))["flow"], paths(column(0.6))["flow"]
    x = a * (mean + var**0.5 * z[:1]) + b * z[1:2]
    moved = steps.draw(steps.forward(x, a, b, a_to, b_to), z[2:])[0]

    def distance(spread: float) -> float:
        normal = torch.distributions.Normal((a_to * mean).item(), spread)
        ranks = torch.arange(1, n + 1, dtype=f64) / n
        return (normal.cdf(moved.sort().values) - ranks).abs().max().item()

    assert distance(math.sqrt(a_to.item() ** 2 * var + b_to.item() ** 2)) < 1.63 / math.sqrt(n)
    off = paths(column(0.2))["flow"]
    assert distance(math.sqrt(off[0].item() ** 2 * var + off[1].item() ** 2)) > 1.63 / math.sqrt(n)


def test_two_forward_steps_are_one(pair):
    x, _ = pair
    levels = [paths(column(t, t, t))["vp"] for t in (0.1, 0.4, 0.8)]
    first = steps.forward(x, *levels[0], *levels[1])
    second = steps.forward(first.mean, *levels[1], *levels[2])
    keep = (levels[2][0] / levels[1][0])[:, None, None]
    whole = steps.forward(x, *levels[0], *levels[2])
    torch.testing.assert_close(second.mean, whole.mean)
    torch.testing.assert_close((keep * first.std) ** 2 + second.std**2, whole.std**2)


def test_staying_is_the_identity_also_without_signal(pair):
    x, eps = pair
    a, b = column(0.0, 0.3, 1.0), column(1.0, 0.7, 0.0)
    assert torch.equal(steps.draw(steps.forward(x, a, b, a, b), eps), x)


def test_to_pure_noise_nothing_is_kept(pair):
    x, eps = pair
    one, none = torch.ones(3, dtype=f64), torch.zeros(3, dtype=f64)
    assert torch.equal(steps.draw(steps.forward(x, one, none, none, one), eps), eps)


def test_rows_do_not_touch_each_other(pair):
    clean, eps = pair
    abar, abar_to, eta = column(0.1, 0.4, 0.9), column(0.2, 0.9, 1.0), column(0.0, 1.0, 0.5)
    together = steps.ddim(clean, eps, abar, abar_to, eta)
    for i in range(3):
        alone = steps.ddim(clean[[i]], eps[[i]], abar[[i]], abar_to[[i]], eta[[i]])
        assert torch.equal(alone.mean, together.mean[[i]])
        assert torch.equal(alone.std, together.std[[i]])
