"""How far a search moves the law of samples away from the generator's own: divergences in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from gensearch.noise import randn, remake
from gensearch.types import Node, Recipe


def shift_nats(residual: Tensor) -> Tensor:
    """1/2 |f|^2 of each row, [b, *shape] -> [b]: the KL of N(0, I) moved by f where f is constant.

    Half the truth where the Jacobian of f is symmetric, as it is for gradients (HyperNoise, arXiv:2508.09968, eq. 9).
    """
    return residual.flatten(1).square().sum(1) / 2


def best_of_n_nats(n: int) -> float:
    """The most that best-of-n moves the law of samples: ln n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n


def spent_nats(recipe: Recipe, lineage: Sequence[Node], shape: Sequence[int]) -> float:
    """What a search spent on its winner: the shift from the winner's first noise, and the choice among fresh starts."""
    start = randn([recipe[0][1]], shape)
    moved = float(shift_nats(remake(recipe, shape) - start)) if len(recipe) > 1 else 0.0
    return moved + best_of_n_nats(sum(node.parent is None for node in lineage))
