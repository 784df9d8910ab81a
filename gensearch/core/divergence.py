"""How far a search moves the law of samples away from the generator's own: divergences in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gensearch.core.noise import randn, read_exact, remake, step_noise
from gensearch.core.result import Node
from gensearch.core.types import Recipe


def shift_nats(residual: Tensor) -> Tensor:
    """1/2 |f|^2 of each row, [b, *shape] -> [b]: the KL of N(0, I) moved by f where f is constant.

    Half the truth where the Jacobian of f is symmetric, as it is for gradients (HyperNoise, arXiv:2508.09968, eq. 9).
    """
    return residual.flatten(1).square().sum(1) / 2


def best_of_n_nats(n: int) -> float:
    """The most that best-of-n moves the law of samples: ln n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n


def spent_nats(recipe: Recipe, lineage: Sequence[Node], shape: Sequence[int]) -> float:
    """What a search spent on its winner: the shift of its noises from its seed's, and the choice of fresh starts.

    NaN for a winner that was chosen chunk by chunk: the lineage holds finished samples, not what was pruned before.
    """
    starts = sum(node.parent is None for node in lineage)
    if not starts or any(move == "chunk" for move, *_ in recipe):
        return math.nan
    return moved_nats(recipe, shape) + best_of_n_nats(starts)


def moved_nats(recipe: Recipe, shape: Sequence[int]) -> float:
    """1/2 |shift|^2 of x_T, and of the step noises that move with it, from what the recipe's first seed gives."""
    (_, seed), (move, *values) = recipe[0], recipe[-1]
    end = read_exact(values[0], shape) if move == "exact" else remake(recipe, shape)
    steps = [step_noise([recipe[:1]], step, shape) for step in range(1, len(end))]
    return float(shift_nats((end - torch.cat([randn([seed], shape), *steps]))[None]))
