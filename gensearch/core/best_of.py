"""What best-of-n is expected to give, from one stored pool of samples for every n at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_of(scores: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, n: int) -> float:
    """The mean value of the sample with the best score among n, over all subsets of n samples of a pool.

    It is unbiased for best-of-n of fresh samples, as is pass@k (Chen et al. 2021, arXiv:2107.03374), which is the case
    of 0 and 1. Samples of equal score win equally often. An unscored sample (NaN) wins only against its like.

    Args:
        scores: Of the verifier that selects, [pool]; higher is better.
        values: What is averaged over the winners, [pool]; the scores themselves, or those of another verifier.
        n: Samples of one search, 1 to the size of the pool.

    Raises:
        ValueError: The lengths differ, or n is out of range.
    """
    guide, value = np.array(scores, dtype=np.float64), np.array(values, dtype=np.float64)
    if len(guide) != len(value) or not 1 <= n <= len(guide):
        raise ValueError(
            f"best of {n} from {len(guide)} scores and {len(value)} values; give as many scores as values, and n from "
            "1 to their number"
        )
    guide[~np.isfinite(guide)] = -np.inf
    ranks = np.unique(guide, return_inverse=True)[1]
    means = np.bincount(ranks, value) / np.bincount(ranks)  # of samples with equal scores
    upto = np.cumsum(np.bincount(ranks))  # samples of a score or less
    within = np.exp([log_share(len(guide), int(count), n) for count in upto])
    return float(np.diff(within, prepend=0.0) @ means)


def log_share(pool: int, part: int, n: int) -> float:
    """The logarithm of the share of all subsets of n that lie within one part of the pool.

    Args:
        pool: Samples, 1 or more.
        part: Samples in the part, 1 to `pool`.
        n: Samples of a subset, 1 to `pool`.
    """
    if n > part:
        return -np.inf
    drawn = np.arange(n)
    return float((np.log(part - drawn) - np.log(pool - drawn)).sum())
