"""Regularisers that keep optimised noise close to Gaussian: penalties and a projection, added up by name.

All penalties take noise [b, *shape] and the noise it started from, compute in fp32 or better, and return [b] numbers,
0 at best: negative log-densities or divergences in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from gensearch.core.errors import nearest
from gensearch.core.kernels import rows
from gensearch.core.noise import master
from gensearch.core.types import Noise

PERMUTATIONS = 100  # random cuts beside the sequential one
BLOCK = 4  # length of the pieces that noise is cut into
BANDS = 8  # rings of the spectrum

Penalty = Callable[[Noise, Noise], Tensor]


def wide(noise: Noise) -> Tensor:
    """Rows [b, d] in fp32 or better: in fp16 the chi penalty overflows from d = 14,000 on."""
    return master(noise).flatten(1)


def chi(noise: Noise, start: Noise) -> Tensor:
    """-log density of the norm under the chi distribution (ReNO, Eyring et al. 2024, arXiv:2406.04312), less its least.

    Gradient noise * (1 - (d - 1) / norm^2); zero at norm sqrt(d - 1). It depends on the norm alone.
    """
    x = wide(noise)
    free = x.shape[1] - 1
    square = x.square().sum(1)
    return (square - free - free * torch.log(square / max(free, 1))) / 2


def shift(noise: Noise, start: Noise) -> Tensor:
    """Half the squared distance from the start: KL divergence of a Gaussian shifted that far, in nats."""
    return (wide(noise) - wide(start)).square().sum(1) / 2


def probability(noise: Noise, start: Noise) -> Tensor:
    """How improbable the mean and covariance of the noise's pieces are (DNO, Tang et al. 2024, arXiv:2405.18881).

    The noise is cut into m pieces of length k = 4, in order and in 100 random orders. With M1 the norm of their mean
    and M2 the spectral norm of their second moment less one, the chance of so much is at most 2 exp(-m M1^2 / 2k) and
    2 exp(-m max(sqrt(1 + M2) - 1 - sqrt(k/m), 0)^2 / 2). Chances above one half count as one half: typical noise has
    penalty 0 and no gradient.
    """
    x = wide(noise)
    pieces = x.shape[1] // BLOCK
    shuffled = x[:, orders(x.shape[1]).to(x.device)]
    cut = shuffled[..., : pieces * BLOCK].reshape(*shuffled.shape[:-1], pieces, BLOCK)
    mean = cut.mean(-2).square().sum(-1)
    excess = cut.mT @ cut / pieces - torch.eye(BLOCK, dtype=x.dtype, device=x.device)
    stretch = (1 + torch.linalg.matrix_norm(excess, ord=2)).sqrt() - 1 - (BLOCK / pieces) ** 0.5
    logs = torch.stack([-pieces * mean / (2 * BLOCK), -pieces * stretch.clamp(min=0).square() / 2])
    return -(logs + 2 * math.log(2)).clamp(max=0).sum(0).mean(-1)


@cache
def orders(length: int) -> Tensor:
    """The sequential order and the random ones, always the same, [101, length]."""
    generator = torch.Generator().manual_seed(0)
    shuffled = [torch.randperm(length, generator=generator) for _ in range(PERMUTATIONS)]
    return torch.stack([torch.arange(length), *shuffled])


def spectral(noise: Noise, start: Noise) -> Tensor:
    """KL divergence from white noise of a Gaussian with the noise's mean power in each ring of frequencies.

    sum over rings of n/2 (s - 1 - ln s), n coefficients of mean power s; about a half per ring for white noise. Takes
    [b, c, *space].
    """
    space = noise.shape[2:]
    x = master(noise)
    power = torch.fft.fftn(x, dim=tuple(range(2, x.ndim)), norm="ortho").abs().square().mean(1).flatten(1)
    ring = rings(tuple(space)).to(x.device)
    count = torch.zeros(BANDS, dtype=power.dtype, device=x.device).index_add(0, ring, torch.ones_like(power[0]))
    total = torch.zeros(len(x), BANDS, dtype=power.dtype, device=x.device).index_add(1, ring, power)
    s = (total / count.clamp(min=1)).masked_fill(count == 0, 1)
    return (noise.shape[1] * count / 2 * (s - 1 - s.log())).sum(1)


@cache
def rings(space: tuple[int, ...]) -> Tensor:
    """The ring of every frequency of a grid, flat [prod(space)]."""
    grids = torch.meshgrid(*(torch.fft.fftfreq(size) for size in space), indexing="ij")
    radius: Tensor = torch.stack(grids).square().sum(0).sqrt() / (len(space) ** 0.5 / 2)
    return (radius.flatten() * BANDS).long().clamp(max=BANDS - 1)


PENALTIES: dict[str, Penalty] = {"chi": chi, "shift": shift, "probability": probability, "spectral": spectral}


def rescale(noise: Noise, start: Noise) -> Noise:
    """The noise with the norm it started with (DOODL, Wallace et al. 2023, arXiv:2303.13703)."""
    size = noise.flatten(1).norm(dim=1).clamp(min=1e-12)
    (scale,) = rows(noise, start.flatten(1).norm(dim=1) / size)
    return noise * scale


class Regulariser(NamedTuple):
    """A weighted sum of penalties, and whether the norm is put back after every step."""

    terms: tuple[tuple[float, Penalty], ...] = ()
    rescales: bool = False

    def penalty(self, noise: Noise, start: Noise) -> Tensor:
        """The penalty of each sample [b]."""
        zero = torch.zeros(len(noise), dtype=torch.promote_types(noise.dtype, torch.float32), device=noise.device)
        return sum((weight * term(noise, start) for weight, term in self.terms), zero)

    def project(self, noise: Noise, start: Noise) -> Noise:
        """The noise after a step."""
        return rescale(noise, start) if self.rescales else noise


def regulariser(text: str) -> Regulariser:
    """Read "0.01*chi+spectral", "projection" or "none"; raises ValueError with the nearest name for others."""
    terms, rescales = [], False
    for part in text.replace(" ", "").split("+"):
        weight, star, name = part.rpartition("*")
        if part == "projection":
            rescales = True
        elif name in PENALTIES:
            terms.append((number(weight, text) if star else 1.0, PENALTIES[name]))
        elif star and name in ("projection", "none"):
            raise ValueError(f"{name} takes no weight; write {name} instead of {part!r}")
        elif part != "none":
            raise ValueError(f"no regulariser is called {name!r}{nearest(name, [*PENALTIES, 'projection', 'none'])}")
    return Regulariser(tuple(terms), rescales)


def number(text: str, whole: str) -> float:
    """A weight; raises ValueError for what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"cannot read the weight {text!r} in {whole!r}; write for example 0.01*chi+spectral")
    return value
