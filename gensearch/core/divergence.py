"""KL divergence from the base model, in nats: of the law of what a search returns, or a bound on it.

A choice tilts the law; noise that is turned by fresh noise of its own keeps it. Where neither a formula nor a bound is
known, the figure is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gensearch.core.noise import randn, read_exact, step_noise
from gensearch.core.result import Result
from gensearch.core.types import Recipe

# Searches that choose among samples of fresh noise, or of noise turned by fresh noise; scores change neither the number
# of samples nor how a sample is made from its noise.
CHOOSING = frozenset({"best_of_n", "unguided", "zero_order"})
SHIFTING = frozenset({"dno", "reno"})  # searches that shift noise along gradients


def shift_nats(residual: Tensor) -> Tensor:
    """1/2 |f|^2 of each row: the KL divergence of N(f, I) from N(0, I), in nats (HyperNoise, arXiv:2508.09968, eq. 9).

    Exact for a constant f, and no bound otherwise: half the true divergence where the Jacobian of f is symmetric and
    small, as it is for gradients.

    Args:
        residual: f, the shift of each row's noise, [b, *shape].

    Returns:
        [b].
    """
    return residual.flatten(1).square().sum(1) / 2


def best_of_n_nats(n: int) -> float:
    """The KL divergence of one of n independent samples, in nats: at most ln n - (n - 1) / n (arXiv:2401.01879).

    Equal to it where scores have no ties, and a bound for every rule of choice, an election included: the winner's
    density is at most as spread out as that of the best (Border 1991, "Implementation of reduced form auctions").

    Args:
        n: Samples to choose from, 1 or more.
    """
    return math.log(n) - (n - 1) / n


def chain_nats(rounds: Sequence[int]) -> float:
    """A bound on the KL divergence of a sample that was reached by moves that keep the law of the noise, in nats.

    Args:
        rounds: Samples of each round, 1 or more each; their number and sizes do not depend on scores.

    Returns:
        R ln(1 + m) for R rounds of at most m samples. In each round the way to the winner takes one of the samples or
        stays. With ways drawn by lot the noise at their end would be N(0, I), and the lot would hit the way of the
        search with the probability (1 + m)^-R. Neighbours of one noise are not independent, so that nothing is taken
        off for ties as in `best_of_n_nats`: of a noise and its opposite, one always has a positive first value, at the
        full ln 2.
    """
    return len(rounds) * math.log(1 + max(rounds))


def choice_nats(search: str, found: Result, blind: bool = False) -> float:
    """The KL divergence that choosing among samples adds to that of the noise they start from, or a bound, in nats.

    NaN for a search that may do more than choose, and for one that was stopped from outside.

    Args:
        search: Its name.
        found: Its outcome.
        blind: Whether no choice depended on the samples; 0 unless one of them could not be scored.
    """
    moves = {move for node in found.lineage for move, *_ in node.recipe}
    stopped = found.stopped in ("closed", "error")
    if search not in CHOOSING or stopped or moves - {"gaussian", "exact", "nearby"}:
        return math.nan
    if blind and not found.unscored:
        return 0.0
    return chain_nats(found.rounds) if "nearby" in moves else best_of_n_nats(len(found.lineage))


def first_order_nats(recipe: Recipe, shape: Sequence[int]) -> float:
    """1/2 |shift|^2, in nats, of x_T and of the recorded step noises against those of the recipe's first seed.

    0 without an "exact" move; turns by "nearby" after the last one do not count, since they keep the law.

    Args:
        recipe: Of one sample.
        shape: Of one sample's noise.
    """
    last = max((place for place, (move, *_) in enumerate(recipe) if move == "exact"), default=0)
    if not last:
        return 0.0
    end, (_, seed) = read_exact(recipe[last][1], shape), recipe[0]
    steps = [step_noise([recipe[:1]], step, shape) for step in range(1, len(end))]
    return float(shift_nats((end - torch.cat([randn([seed], shape), *steps]))[None]))
