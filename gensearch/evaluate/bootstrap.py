"""How sure a difference between two methods is: a paired bootstrap over prompts, stratified by tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over tags and its confidence limits; the limits are NaN where some tag has fewer than two prompts."""

    mean: float
    low: float
    high: float


def mean_of_tags(values: Sequence[float] | np.ndarray, tags: Sequence[str]) -> tuple[dict[str, float], float]:
    """The mean of each tag, and their unweighted mean: GenEval's "overall" (arXiv:2310.11513).

    One value and one tag per prompt.
    """
    means = {tag: float(stratum.mean()) for tag, stratum in strata(values, tags).items()}
    return means, float(np.mean(list(means.values())))


def interval(
    differences: Sequence[float] | np.ndarray,
    tags: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the unweighted mean over tags of paired differences, one per prompt.

    A prompt is the unit of resampling: average its seeds first, on both sides the same ones. Each tag of n prompts is
    resampled on its own with n - 1 draws, which makes the variance of the resampled mean the unbiased estimate (Rao
    and Wu 1988, "Resampling inference with complex survey data"); with n draws tags of few prompts look too certain.
    Simulated on skewed differences, 95 % intervals cover the truth in 94.4 % of cases with the tag sizes of
    GenEval-Shapes, and in 93 % where a tag of eight prompts has most of the spread.
    The order of the prompts does not matter, down to the last bit.
    """
    groups = strata(differences, tags)
    mean = float(np.mean([group.mean() for group in groups.values()]))
    if min(map(len, groups.values())) < 2:
        return Interval(mean, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    draws = [group[rng.integers(len(group), size=(resamples, len(group) - 1))].mean(1) for group in groups.values()]
    low, high = np.quantile(np.mean(draws, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def strata(values: Sequence[float] | np.ndarray, tags: Sequence[str]) -> dict[str, np.ndarray]:
    """The values of each tag, sorted, so that whatever is drawn from them ignores the order of the prompts."""
    flat = np.asarray(values, dtype=np.float64)
    if len(flat) != len(tags) or not len(flat):
        raise ValueError(f"{len(flat)} values for {len(tags)} tags; give one tag per prompt, and one prompt or more")
    return {tag: np.sort(flat[np.array([t == tag for t in tags])]) for tag in sorted(set(tags))}
