"""The regulariser of a noise hypernetwork: KL divergence from the base model in nats, its temperature, and a budget.

The map T(x) = x + f(x) of N(0, I) has KL(T#N || N) = E[1/2 |f|^2 + tr J - log|det(I + J)|], where J is the Jacobian of
f (HyperNoise, Eyring et al. 2025, arXiv:2508.09968, eq. 9). The paper keeps the first term only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gensearch.core.divergence import shift_nats

Map = Callable[[Tensor], Tensor]  # residual f, [b, *shape] -> [b, *shape], each row on its own


def divergence(
    residual: Map, noise: Tensor, *, order: int, probes: int = 1, seeds: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return f(noise) and the KL divergence of each row in nats, [b, *shape] and [b]; both are differentiable.

    The remainder tr J - log|det(I + J)| = sum over k >= 2 of (-1)^k tr(J^k) / k is taken up to k = `order`. Each trace
    is Hutchinson's estimate, the mean of v.J^k v over random vectors v of signs. The series converges where the
    spectral radius of J is below 1.

    Args:
        residual: f, from [b, *shape] to [b, *shape], each row on its own.
        noise: standard normal [b, *shape].
        order: terms of the series, at least 1; 1 is the paper's surrogate |f|^2 / 2, 2 the second-order correction.
        probes: random vectors per row, at least 1.
        seeds: one per row, for orders above 1.

    Raises:
        ValueError: for an order below 1, and for an order above 1 without one seed per row.
    """
    if order == 1:
        f = residual(noise)
        return f, shift_nats(f)
    f, traces = powers(residual, noise, order, probes, seeds)
    return f, shift_nats(f) + sum((-1) ** k / k * traces[k - 1] for k in range(2, order + 1))


def log_ratio(residual: Map, noise: Tensor, *, order: int = 2, probes: int = 1, seeds: Sequence[int] = ()) -> Tensor:
    """Return the logarithm of the density of x + f(x) over that of N(0, I) at each x + f(x), in nats, [b].

    It is x.f + 1/2 |f|^2 - log|det(I + J)|, with the last term as in `divergence`. Its mean over x ~ N(0, I) is the KL
    divergence. Unlike the integrand of `divergence`, which holds on average by Stein's lemma, it is right for each x,
    and so also for an x that was chosen for its picture.

    Args:
        residual: f, from [b, *shape] to [b, *shape], each row on its own.
        noise: x, [b, *shape].
        order: terms of the series of log|det(I + J)|, at least 1.
        probes: random vectors per row, at least 1.
        seeds: one per row.

    Raises:
        ValueError: for an order below 1, and without one seed per row.
    """
    f, traces = powers(residual, noise, order, probes, seeds)
    volume = sum((-1) ** k / k * traces[k - 1] for k in range(1, order + 1))
    ratio: Tensor = (noise.to(f) * f).flatten(1).sum(1) + shift_nats(f) + volume
    return ratio.detach()


def powers(residual: Map, noise: Tensor, order: int, probes: int, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Return f(noise) and Hutchinson's estimates of tr J, tr J^2, ..., tr J^order, [b] each, all differentiable.

    Args:
        residual: f, from [b, *shape] to [b, *shape], each row on its own.
        noise: [b, *shape].
        order: the highest power, at least 1.
        probes: random vectors per row, at least 1.
        seeds: one per row.

    Raises:
        ValueError: for an order below 1, and without one seed per row.
    """
    if order < 1:
        raise ValueError(f"order {order} is too low: 1 keeps |f|^2 / 2, 2 adds the second-order correction")
    if len(seeds) != len(noise):
        raise ValueError(f"order {order} takes a seed for each of {len(noise)} rows, not {len(seeds)}")
    with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        x = noise.detach().requires_grad_()
        f = residual(x)
        push = pushforward(f, x)
        traces = [torch.zeros(len(noise), dtype=f.dtype, device=f.device) for _ in range(order)]
        for v in signs(seeds, (probes, *noise.shape[1:])).to(f).unbind(1):
            power = v
            for k in range(order):
                power = push(power)
                traces[k] = traces[k] + (v * power).flatten(1).sum(1) / probes
    return f, traces


def unrolled(residual: Map, passes: int, gain: float = 1.0) -> Map:
    """Return the shift of `passes` steps x + gain * f(x), each from where the last one ended, as one map of the noise.

    Args:
        residual: f, from [b, *shape] to [b, *shape], each row on its own.
        passes: steps, at least 1; 1 is f itself.
        gain: factor of each step.
    """

    def shift(noise: Tensor) -> Tensor:
        moved = gain * residual(noise)
        for _ in range(passes - 1):
            moved = moved + gain * residual(noise + moved)
        return moved

    return shift


def signs(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return random signs [len(seeds), *shape] of -1 and 1, one generator per row.

    Args:
        seeds: one per row.
        shape: of one row.
    """
    rows = [torch.randint(2, tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows) * 2.0 - 1


def pushforward(f: Tensor, x: Tensor) -> Map:
    """Return v -> J v of every row, as the derivative of u -> J^T u, which is linear in u; differentiable.

    Args:
        f: residual(x) with its graph, [b, *shape].
        x: the input of f, [b, *shape].
    """
    u = torch.zeros_like(f, requires_grad=True)
    (back,) = torch.autograd.grad(f, x, u, create_graph=True)
    return lambda v: torch.autograd.grad(back, u, v, create_graph=True)[0]


def exact_nats(residual: Map, noise: Tensor) -> Tensor:
    """Return the exact KL integrand of each row in nats, [b]; builds the d x d Jacobian, so for small d and tests.

    Args:
        residual: f, from [b, *shape] to [b, *shape], each row on its own.
        noise: standard normal [b, *shape] with d elements per row.
    """
    rows = []
    for x in noise:
        jacobian = torch.func.jacrev(lambda y: residual(y[None])[0])(x).reshape(x.numel(), x.numel())
        one = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
        rows.append(jacobian.trace() - torch.linalg.slogdet(one + jacobian).logabsdet)
    return shift_nats(residual(noise)) + torch.stack(rows)


@dataclass(frozen=True)
class Temperature:
    """The weight of the KL divergence: the loss is -reward + value * nats.

    The released code of HyperNoise has the loss -reward + weight * mean(f^2) over the d elements, which is
    value = 2 * weight / d: thousands of times less than the value 1 of the paper's theory.

    Attributes:
        value: in units of reward per nat, above 0.
    """

    value: float

    @classmethod
    def from_mean(cls, weight: float, elements: int) -> Temperature:
        """Convert a weight on the mean square of f.

        Args:
            weight: in units of reward.
            elements: of one noise.
        """
        return cls(2 * weight / elements)

    def as_mean(self, elements: int) -> float:
        """Return the temperature as a weight on the mean square of f.

        Args:
            elements: of one noise.
        """
        return self.value * elements / 2


def dual_ascent(temperature: Temperature, nats: float, budget: float, rate: float = 0.05) -> Temperature:
    """Return the next temperature of a run with a KL budget: higher if the divergence exceeds it, lower if not.

    Dual ascent on the logarithm of the multiplier; one call changes it by at most the factor exp(rate).

    Args:
        temperature: the present one.
        nats: the present KL divergence.
        budget: the KL divergence to reach in nats, above 0.
        rate: step size, above 0.
    """
    step = max(-1.0, min(1.0, (nats - budget) / budget))
    return Temperature(temperature.value * math.exp(rate * step))
