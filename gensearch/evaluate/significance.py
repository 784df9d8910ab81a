"""P-values of paired differences: a sign-flip test within prompts, and Holm's correction for many comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from gensearch.evaluate.bootstrap import strata

Key = TypeVar("Key")
EXACT = 13  # prompts that differ, up to which all sign patterns are tried
CHUNK = 4_000_000  # signs in memory at once


def sign_flip(
    differences: Sequence[float] | np.ndarray, tags: Sequence[str], *, flips: int = 10_000, seed: int = 0
) -> float:
    """The two-sided p-value of no difference: how often random signs give a mean over tags as far from zero.

    Source: Fisher's randomisation test for pairs. Without a difference between two methods, each prompt's difference
    is as likely with either sign. All patterns are tried for up to 13 prompts that differ; otherwise the p-value is
    (1 + as far) / (1 + flips), which is valid for any number of flips (Phipson and Smyth 2010,
    doi:10.2202/1544-6115.1585).

    Args:
        differences: one per prompt, averaged over the same seeds on both sides.
        tags: one per prompt; the statistic is the unweighted mean of the tags' means.
        flips: random sign patterns, at least 1.
        seed: determines them.

    Raises:
        ValueError: for no prompts, and for different numbers of differences and tags.
    """
    groups = strata(differences, tags)
    shares = np.concatenate([group / len(group) / len(groups) for group in groups.values()])
    shares = shares[shares != 0]
    if not len(shares):
        return 1.0
    bar = abs(shares.sum()) - 1e-12
    if len(shares) <= EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(shares))[:, None] >> np.arange(len(shares)) & 1)
        return float((np.abs(signs @ shares) >= bar).mean())
    rng, far = np.random.default_rng(seed), 0
    rows = max(1, CHUNK // len(shares))
    for start in range(0, flips, rows):
        signs = 1 - 2 * rng.integers(2, size=(min(rows, flips - start), len(shares)))
        far += int((np.abs(signs @ shares) >= bar).sum())
    return (1 + far) / (1 + flips)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """P-values corrected for their number, so that the chance of any false finding stays below the level.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6:65-70.

    Args:
        p_values: what was tested -> its p-value, in [0, 1].
    """
    corrected, highest = dict[Key, float](), 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[key]))
        corrected[key] = highest
    return {key: corrected[key] for key in p_values}
