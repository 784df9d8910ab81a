"""Penalties on noise against closed forms, and what each of them can and cannot see."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gensearch.core.noise import randn
from gensearch.search.gradient.regularise import chi, orders, probability, regulariser, rescale, shift, spectral

SHAPE = (4, 16, 16)  # d = 1024


def slope(penalty, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(penalty(x, x.detach()).sum(), x)[0]


def lowpass(x: torch.Tensor) -> torch.Tensor:
    soft = F.avg_pool2d(F.pad(x, (1,) * 4, mode="circular"), 3, 1)
    return soft * (x[0].numel() ** 0.5 / soft.flatten(1).norm(dim=1))[:, None, None, None]


@pytest.mark.parametrize("d", [2, 64, 1000])
def test_chi_is_the_density_of_the_norm_and_its_gradient_the_papers(d):
    x = torch.randn(3, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1.3
    n2 = x.square().sum(1, keepdim=True)
    assert torch.allclose(slope(chi, x), x * (1 - (d - 1) / n2), rtol=1e-12)
    log_density = (d - 1) * n2.sqrt().log() - n2 / 2  # up to a constant, which the difference takes away
    values = chi(x, x)
    assert torch.allclose(values[0] - values[1], (log_density[1] - log_density[0])[0], rtol=1e-10)
    best = x / n2.sqrt() * (d - 1) ** 0.5
    assert torch.allclose(chi(best, best), torch.zeros(3, dtype=torch.float64), atol=1e-10)
    assert slope(chi, best).abs().max() < 1e-12


def test_chi_is_finite_for_half_precision_noise_where_the_naive_form_overflows():
    x = randn([3], (16, 32, 32)).half()
    naive = (x.numel() - 1) * x.float().norm().half().log()
    assert not naive.isfinite()
    assert chi(x, x).isfinite().all()
    assert slope(chi, x).isfinite().all()


def test_shift_is_the_divergence_of_a_moved_gaussian():
    start = randn([1, 2], SHAPE)
    assert torch.allclose(shift(start + 0.25, start), torch.full((2,), 1024 / 32), rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 16, 16), SHAPE, pytest.param((16, 32, 32), marks=pytest.mark.slow)])
def test_typical_noise_has_almost_no_gradient_of_probability(shape):
    x = randn(range(20), shape)
    # Some of the 101 cuts are improbable by chance: the squared mean of one exceeds its bound in 2.6 % of cuts.
    assert (probability(x, x) < 0.15).all()
    assert (slope(probability, x).flatten(1).norm(dim=1) < 0.1).all()


def test_the_gradient_of_probability_is_exactly_zero_on_a_typical_cut(one_cut):
    x = randn([3], SHAPE)
    assert probability(x, x).item() == 0
    assert slope(probability, x).abs().max() == 0


@pytest.mark.parametrize(
    ("name", "spoil", "seen_by_chi"),
    [
        ("scaled", lambda x: 1.1 * x, True),
        ("tiled", lambda x: x[:, :, :8, :8].repeat(1, 1, 8, 8), None),
        ("low pass", lowpass, False),
    ],
)
def test_structure_is_improbable_also_where_the_norm_is_right(name, spoil, seen_by_chi):
    x = randn(range(5), (4, 64, 64))
    spoilt = spoil(x)
    assert (probability(spoilt, x) > 20 * probability(x, x)).all(), name
    assert (probability(spoilt, x) > 0.5).all(), name
    if seen_by_chi is not None:
        fooled = chi(spoilt, x) < 0.01
        assert fooled.all() if not seen_by_chi else not fooled.any()


@pytest.fixture
def one_cut(monkeypatch):
    monkeypatch.setattr("gensearch.search.gradient.regularise.PERMUTATIONS", 0)
    orders.cache_clear()
    yield
    orders.cache_clear()


def test_probability_is_what_its_formula_says_on_one_cut(one_cut):
    x = 0.4 + 1.5 * torch.randn(1, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y, m, k = x.view(100, 4), 100, 4
    m1 = y.mean(0).norm()
    m2 = torch.linalg.svdvals(y.T @ y / m - torch.eye(4, dtype=torch.float64))[0]
    logs = [math.log(2) - m * m1**2 / (2 * k), math.log(2) - m * ((1 + m2) ** 0.5 - 1 - (k / m) ** 0.5) ** 2 / 2]
    expected = -sum(min(float(log), -math.log(2)) for log in logs) - 2 * math.log(2)
    assert probability(x, x).item() == pytest.approx(expected, rel=1e-9)


def test_spectral_is_the_divergence_of_flat_and_of_coloured_noise():
    white = randn(range(200), SHAPE)
    values = spectral(white, white)
    assert values.mean().item() == pytest.approx(8 / 2, abs=4 * 2 / 200**0.5)  # a half per ring
    doubled = spectral(2**0.5 * white, white).mean().item()
    assert doubled == pytest.approx(1024 / 2 * (2 - 1 - math.log(2)), rel=0.1)
    assert (spectral(lowpass(white), white) > 100).all()
    assert (spectral(white.roll(3, -1), white) - values).abs().max() < 1e-2  # moved noise is as white


def test_spectral_reads_clips_too():
    clip = randn([1, 2], (4, 3, 8, 8))
    assert (spectral(clip, clip) < 20).all()


def test_rescaling_keeps_the_direction_and_the_norm_of_the_start():
    start = randn([1, 2], SHAPE)
    there = rescale(3 * start + 0.1, start)
    assert torch.allclose(there.flatten(1).norm(dim=1), start.flatten(1).norm(dim=1), rtol=1e-6)
    assert torch.allclose(there / (3 * start + 0.1), (there / (3 * start + 0.1))[:, :1, :1, :1].expand_as(there))
    assert torch.equal(rescale(torch.zeros_like(start), start), torch.zeros_like(start))


def test_sums_are_read_by_name():
    x, start = 1.2 * randn([1], SHAPE), randn([1], SHAPE)
    both = regulariser("0.01*chi + 2*spectral+projection")
    assert torch.allclose(both.penalty(x, start), 0.01 * chi(x, start) + 2 * spectral(x, start))
    assert torch.equal(both.project(x, start), rescale(x, start))
    none = regulariser("none")
    assert none.penalty(x, start).tolist() == [0]
    assert none.project(x, start) is x


@pytest.mark.parametrize(
    ("text", "words"), [("ch", "did you mean 'chi'"), ("x*chi", "cannot read the weight 'x'"), ("nan*chi", "weight")]
)
def test_unknown_regularisers_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        regulariser(text)


@pytest.mark.parametrize("name", ["projection", "none"])
def test_what_takes_no_weight_says_so(name):
    with pytest.raises(ValueError, match=rf"{name} takes no weight; write {name} instead of '2\*{name}'"):
        regulariser(f"chi+2*{name}")
