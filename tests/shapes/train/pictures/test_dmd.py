"""Distribution matching on Gaussians, where the reverse KL and its gradient are known in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gensearch.shapes.train.pictures import dmd, turbo
from gensearch.shapes.train.pictures.data import token_ids
from gensearch.shapes.train.pictures.sd import scheduler
from gensearch.shapes.train.pictures.turbo import levels, trailing


class Velocity(nn.Module):
    """The exact v of clean samples from N(mean, 1), shifted by `shift` where there is a prompt."""

    def __init__(self, mean: float, shift: float = 0.0) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.shift = shift

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        a, s = dmd.amplitudes(t)
        conditional = (ids != token_ids([""])[0]).any(1).float().view(-1, 1, 1, 1)
        mean = self.mean + self.shift * conditional
        clean = a * x + s**2 * mean  # E[x0 | x] where x0 ~ N(mean, 1)
        noise = s * x - a * s * mean
        return a * noise - s * clean


def gaussian(mean: float, shift: float = 0.0) -> Any:
    return Velocity(mean, shift)


def ids(count: int) -> Tensor:
    return token_ids(["a photo of a star"]).expand(count, -1)


@pytest.mark.parametrize("t", [0, 300, 700, 998])
def test_the_gaussian_denoiser_is_exact(t):
    generator = torch.Generator().manual_seed(t)
    x0 = 0.7 + torch.randn(20_000, 1, 1, 1, generator=generator)
    when = torch.full((len(x0),), t)
    a, s = dmd.amplitudes(when)
    eps = torch.randn(x0.shape, generator=generator)
    target = a * eps - s * x0
    mine, other = (
        (gaussian(mean)(a * x0 + s * eps, when, ids(len(x0))) - target).square().mean() for mean in (0.7, 0.9)
    )
    assert mine <= other + 1e-4


@pytest.mark.parametrize(("guidance", "shift"), [(1.0, 0.0), (2.0, 0.5)])
def test_the_direction_points_from_the_teachers_mean_to_the_students(monkeypatch, guidance, shift):
    """fake - real at every level is s^2 (student's mean - guided mean); guidance g shifts the mean by g * shift."""
    monkeypatch.setattr(dmd, "GUIDANCE", guidance)
    monkeypatch.setattr(dmd, "GUIDED_ABOVE", 0)
    timesteps = torch.linspace(100, 900, 9).long()
    monkeypatch.setattr(dmd, "noisy_timesteps", lambda n, g: timesteps)
    teacher, critic, x0 = gaussian(1.0, shift), gaussian(-0.5), torch.zeros(9, 16, 8, 8)
    generator = torch.Generator().manual_seed(0)
    found = dmd.direction(teacher, critic, x0, ids(9), generator)
    state = torch.Generator().manual_seed(0)
    a, s = dmd.amplitudes(timesteps)
    x = a * x0 + s * torch.randn(x0.shape, generator=state)
    mean = 1.0 + guidance * shift
    real = a * x + s**2 * mean
    expected = s**2 * (-0.5 - mean) / (x0 - real).abs().mean((1, 2, 3), keepdim=True)
    assert torch.allclose(found, expected.expand_as(found), atol=1e-4)


def test_below_a_level_the_teacher_is_not_guided(monkeypatch):
    monkeypatch.setattr(dmd, "noisy_timesteps", lambda n, g: torch.tensor([dmd.GUIDED_ABOVE - 1, dmd.GUIDED_ABOVE]))
    x0 = torch.zeros(2, 16, 8, 8)
    same = [
        dmd.direction(gaussian(0.0, 1.0), gaussian(1.0), x0, ids(2), torch.Generator().manual_seed(1)) for _ in "ab"
    ]
    assert torch.equal(*same)
    below, above = (row.abs().mean().item() for row in same[0])
    assert below == pytest.approx(0, abs=1e-4)  # the critic agrees with the unguided teacher
    assert above > 0.05


@pytest.mark.slow
def test_following_the_direction_ends_at_the_teachers_distribution():
    """A student x0 = z + b and an exact critic: b comes to rest at the teacher's mean and nowhere else."""
    b = torch.tensor(-1.0, requires_grad=True)
    adam, generator = torch.optim.Adam([b], lr=0.05), torch.Generator().manual_seed(5)
    teacher = gaussian(0.8)
    for _ in range(150):
        x0 = b + torch.randn(8, 16, 8, 8, generator=generator)
        away = dmd.direction(teacher, gaussian(b.item()), x0.detach(), ids(8), generator)
        adam.zero_grad()
        (x0 * away).mean().backward()
        adam.step()
    assert b.item() == pytest.approx(0.8, abs=0.05)


def test_the_student_draws_as_its_sampler_would(monkeypatch):
    """With a chain of two steps, of which one or both are taken; gradients pass through the last alone."""
    network = gaussian(0.3)
    monkeypatch.setattr(turbo, "CHAINS", (2,))
    x, lengths = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1)), set()
    for seed in range(9):
        x0 = turbo.unrolled(network, x, ids(2), torch.Generator().manual_seed(seed))
        again = torch.Generator().manual_seed(seed)
        torch.randint(1, (1,), generator=again)
        length = int(torch.randint(2, (1,), generator=again)) + 1
        lengths.add(length)
        first, second = trailing(2)
        alphas, there = scheduler().alphas_cumprod, x
        if length == 2:
            v = network(x, torch.full((2,), first), ids(2)).detach()
            (a, s), (c, r) = levels(alphas, first), levels(alphas, second)
            there = c * (a * x - s * v) + r * (s * x + a * v)
        last = torch.full((2,), (first, second)[length - 1])
        expected = dmd.clean(there, network(there, last, ids(2)), last)
        assert torch.allclose(x0, expected, atol=1e-5)
        slopes = [float(torch.autograd.grad(samples.sum(), network.mean)[0]) for samples in (x0, expected)]
        assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)
    assert lengths == {1, 2}
