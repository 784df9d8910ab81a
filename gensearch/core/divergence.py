"""KL divergence of what a search returns from the base model's samples, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gensearch.core.noise import moves_of_noise, randn, read_exact, remake, step_noise
from gensearch.core.result import Node
from gensearch.core.types import Recipe


def shift_nats(residual: Tensor) -> Tensor:
    """1/2 |f|^2 of each row: the KL divergence of N(f, I) from N(0, I), in nats (HyperNoise, arXiv:2508.09968, eq. 9).

    Exact for a constant f; half the true divergence where the Jacobian of f is symmetric, as it is for gradients.

    Args:
        residual: f, the shift of each row's noise, [b, *shape].

    Returns:
        [b].
    """
    return residual.flatten(1).square().sum(1) / 2


def best_of_n_nats(n: int) -> float:
    """The KL divergence of best-of-n from the base model, in nats: at most ln n - (n - 1) / n (arXiv:2401.01879).

    Args:
        n: Samples to choose from, 1 or more.
    """
    return math.log(n) - (n - 1) / n


def spent_nats(recipe: Recipe, lineage: Sequence[Node], shape: Sequence[int]) -> float:
    """KL divergence of a search's winner from the base model, in nats: of shifting its noise and of choosing a start.

    NaN for a winner of a chunk-autoregressive search: the lineage holds finished samples, not the pruned prefixes. NaN
    for one that was generated from a rewritten prompt, whose samples follow another law.

    Args:
        recipe: Of the winner.
        lineage: All finished samples of the search.
        shape: Of one sample's noise.
    """
    starts = sum(node.parent is None for node in lineage)
    if not starts or any(move in ("chunk", "prompt") for move, *_ in recipe):
        return math.nan
    return moved_nats(recipe, shape) + best_of_n_nats(starts)


def moved_nats(recipe: Recipe, shape: Sequence[int]) -> float:
    """1/2 |shift|^2, in nats, of x_T and of the recorded step noises against those of the recipe's first seed.

    Args:
        recipe: Of one sample.
        shape: Of one sample's noise.
    """
    (_, seed), (move, *values) = recipe[0], moves_of_noise(recipe)[-1]
    end = read_exact(values[0], shape) if move == "exact" else remake(recipe, shape)
    steps = [step_noise([recipe[:1]], step, shape) for step in range(1, len(end))]
    return float(shift_nats((end - torch.cat([randn([seed], shape), *steps]))[None]))
