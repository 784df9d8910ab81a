"""Strengths of candidates from pairwise wins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MOST_STEPS = 100_000
CLOSE = 1e-10  # largest change of a log strength in the last step


def bradley_terry(wins: Tensor, *, prior: float = 0.5) -> Tensor:
    """Return log strengths for which P(i beats j) = sigmoid(s_i - s_j) fits pairwise wins best.

    The MM algorithm of Hunter 2004 (doi:10.1214/aos/1079120141) for the model of Bradley and Terry 1952. The prior is a
    candidate of strength 0 against which everybody won and lost `prior` bouts; it connects all candidates and keeps the
    strength of an unbeaten one finite.

    Args:
        wins: bouts that row won against column, fractions for ties and probabilities, [n, n], 0 or more.
        prior: 0 or more; with 0 the strengths have mean 0.

    Returns:
        Float64 [n]; NaN for a candidate without a bout.

    Raises:
        ValueError: for wins that are no counts, and without a prior for candidates whose strengths are not determined.
    """
    wins = wins.detach().double()
    square = wins.ndim == 2 and wins.shape[0] == wins.shape[1]
    if not square or not bool((wins >= 0).all() & wins.isfinite().all()) or not 0 <= prior < torch.inf:
        raise ValueError(f"wins of shape {list(wins.shape)} with prior {prior}; give counts [n, n] and a prior, from 0")
    wins = wins - wins.diag().diag()
    there = (wins + wins.T).sum(1) > 0
    wins = wins[there][:, there]
    if not prior and not connected(wins):
        raise ValueError("some candidates never lost to the others, directly or by way of some; give a prior above 0")
    found = torch.full((len(there),), torch.nan, dtype=torch.float64)
    found[there] = torch.from_numpy(np.log(fitted(wins.numpy(), prior)))
    return found


def fitted(wins: np.ndarray, prior: float) -> np.ndarray:
    """Return strengths [n] by MM steps until none changes.

    Args:
        wins: of row against column [n, n], connected or with a prior above 0.
        prior: 0 or more; with 0 the strengths have geometric mean 1.
    """
    bouts, won, strength = wins + wins.T, wins.sum(1) + prior, np.ones(len(wins))
    for _ in range(MOST_STEPS if len(wins) else 0):
        new = won / ((bouts / (strength[:, None] + strength)).sum(1) + 2 * prior / (strength + 1))
        if not prior:
            new /= np.exp(np.log(new).mean())
        change, strength = np.abs(np.log(new / strength)).max(), new
        if change < CLOSE:
            break
    return strength


def connected(wins: Tensor) -> bool:
    """Return whether everybody beat everybody, directly or by way of others, so that strengths are determined.

    Args:
        wins: of row against column [n, n].
    """
    reached = (wins > 0) | torch.eye(len(wins), dtype=torch.bool)
    for _ in range(len(wins).bit_length()):
        reached = (reached.double() @ reached.double()) > 0
    return bool(reached.all())
