"""How a verifier agrees with the truth among samples of one prompt: pure functions of scores."""

from __future__ import annotations

import numpy as np

Numbers = np.ndarray


def pair_accuracy(scores: Numbers, good: Numbers) -> float:
    """The share of pairs (right, wrong) whose right sample scores higher; equal scores count half. It is the AUC.

    Args:
        scores: [n]; NaN does not count.
        good: [n], 1 for right and 0 for wrong samples.

    Returns:
        A share in [0, 1]; NaN where all samples are right or all are wrong.
    """
    right, wrong = scores[(good > 0.5) & ~np.isnan(scores)], scores[(good <= 0.5) & ~np.isnan(scores)]
    if not len(right) or not len(wrong):
        return float("nan")
    higher = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
    return float(higher)


def tied(scores: Numbers) -> float:
    """The share of pairs of samples that have equal scores; NaN for fewer than two.

    Args:
        scores: [n]; NaN does not count.
    """
    counts = np.unique(scores[~np.isnan(scores)], return_counts=True)[1]
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else float("nan")


def ranks(values: Numbers) -> Numbers:
    """Ranks from 0; equal values share the mean of theirs.

    Args:
        values: [n].
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    mean: Numbers = (first + (counts - 1) / 2)[inverse]
    return mean


def spearman(one: Numbers, other: Numbers) -> float:
    """Spearman's rank correlation; NaN where one of the two does not vary.

    Args:
        one: [n]; NaN does not count.
        other: [n]; NaN does not count.
    """
    known = ~np.isnan(one) & ~np.isnan(other)
    a, b = ranks(one[known]), ranks(other[known])
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def flipped(forward: Numbers, backward: Numbers) -> float:
    """The share of pairs whose verdict depends on which sample comes first; NaN without any verdict.

    Args:
        forward: P(a is better) with a first, [n]; NaN for no verdict.
        backward: P(b is better) with b first, [n].
    """
    known = ~np.isnan(forward) & ~np.isnan(backward)
    if not known.any():
        return float("nan")
    return float((np.sign(forward[known] - 0.5) * np.sign(backward[known] - 0.5) > 0).mean())
