"""What a noise hypernetwork pays for moving noise: divergences in nats, their temperature, and a budget.

A map T(x) = x + f(x) of N(0, I) costs KL(T#N || N) = E[1/2 |f|^2 + tr J - log|det(I + J)|], J the Jacobian of f
(HyperNoise, Eyring et al. 2025, arXiv:2508.09968, eq. 9). The paper keeps the first term only.
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
    """f(noise) and the KL of each row in nats, [b, *shape] and [b].

    `order` 1 is the paper's surrogate. Beyond it, tr J - log|det(I + J)| = sum over k >= 2 of (-1)^k tr(J^k) / k is
    taken up to k = `order`, each trace as the mean of v.J^k v over `probes` Rademacher vectors (Hutchinson), drawn from
    a seed for each row: 2 is the second-order correction, and the series converges where the spectral radius of J is
    below one. Differentiable. Raises ValueError for an order below 1, and for one above it without seeds.
    """
    if order < 1:
        raise ValueError(f"order {order} is too low: 1 keeps |f|^2 / 2, 2 adds the second-order correction")
    if order == 1:
        f = residual(noise)
        return f, shift_nats(f)
    if len(seeds) != len(noise):
        raise ValueError(f"order {order} takes a seed for each of {len(noise)} rows, not {len(seeds)}")
    with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        x = noise.detach().requires_grad_()
        f = residual(x)
        rest = torch.zeros(len(noise), dtype=f.dtype, device=f.device)
        for v in signs(seeds, (probes, *noise.shape[1:])).to(f).unbind(1):
            power = v
            for k in range(1, order + 1):
                power = times(f, x, power)
                if k > 1:
                    rest = rest + (-1) ** k / k * (v * power).flatten(1).sum(1) / probes
    return f, shift_nats(f) + rest


def signs(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Rademacher vectors [len(seeds), *shape], one generator per row."""
    rows = [torch.randint(2, tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows) * 2.0 - 1


def times(f: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """J v of every row by differentiating J^T u with respect to u, which leaves a graph to train through."""
    u = torch.zeros_like(f, requires_grad=True)
    (back,) = torch.autograd.grad(f, x, u, create_graph=True)
    (product,) = torch.autograd.grad(back, u, v, create_graph=True)
    return product


def exact_nats(residual: Map, noise: Tensor) -> Tensor:
    """The KL integrand of each row without estimates, [b]; builds the d x d Jacobian, so for small d and for tests."""
    rows = []
    for x in noise:
        jacobian = torch.func.jacrev(lambda y: residual(y[None])[0])(x).reshape(x.numel(), x.numel())
        one = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
        rows.append(jacobian.trace() - torch.linalg.slogdet(one + jacobian).logabsdet)
    return shift_nats(residual(noise)) + torch.stack(rows)


@dataclass(frozen=True)
class Temperature:
    """The price of one nat in units of reward: the loss is -reward + nats * value.

    The released code of HyperNoise writes reward losses + weight * mean(f^2) over the d elements instead, which is
    value = 2 * weight / d: thousands of times cheaper than the value 1 of the paper's theory.
    """

    value: float

    @classmethod
    def from_mean(cls, weight: float, elements: int) -> Temperature:
        """From a weight on the mean square of f."""
        return cls(2 * weight / elements)

    def as_mean(self, elements: int) -> float:
        """As a weight on the mean square of f."""
        return self.value * elements / 2


def dual_ascent(temperature: Temperature, nats: float, budget: float, rate: float = 0.05) -> Temperature:
    """The next temperature of a run that may spend `budget` nats: dearer when it spends more, cheaper when less.

    Projected ascent on the logarithm of the multiplier; one call changes it by at most the factor exp(rate).
    """
    step = max(-1.0, min(1.0, (nats - budget) / budget))
    return Temperature(temperature.value * math.exp(rate * step))
