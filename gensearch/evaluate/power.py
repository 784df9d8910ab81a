"""How small a difference a plan can detect, and how far a method without effect can seem to differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from gensearch.evaluate.plan import Plan
from gensearch.evaluate.table import Record, finished, verdict

POWER, LEVEL = 0.8, 0.05
WORST = 0.5  # variance of the difference of two independent verdicts that are right half of the time
SMALL = 32  # pictures of a tag, below which a control without effect often moves it by a fifth or more


class Variance(NamedTuple):
    """Of paired differences in one tag.

    Attributes:
        prompts: Between prompts; it shrinks with the number of prompts only.
        seeds: Between seeds of one prompt; it shrinks with seeds as well.
    """

    prompts: float
    seeds: float


def standard_error(variances: Mapping[str, Variance], prompts: Mapping[str, int], seeds: int) -> float:
    """The standard error of the unweighted mean over tags of paired differences.

    Args:
        variances: Of each tag.
        prompts: Number of prompts of each tag, 1 or more.
        seeds: Per prompt, 1 or more.
    """
    each = [(variances[tag].prompts + variances[tag].seeds / seeds) / n for tag, n in prompts.items()]
    return sqrt(sum(each)) / len(each)


def detectable(error: float, comparisons: int = 1) -> float:
    """The true difference that a two-sided test finds with 80 % power, by the normal approximation.

    Args:
        error: Standard error of the difference.
        comparisons: That share the level of 5 %, as the first step of Holm's correction has it; 1 or more.
    """
    return float(norm.ppf(1 - LEVEL / 2 / comparisons) + norm.ppf(POWER)) * error


def worst(prompts: Mapping[str, int]) -> dict[str, Variance]:
    """The most that differences of right and wrong can vary unless prompts that help one method harm the other.

    Verdicts of two methods that are independent and right for half of the prompts vary by 1/4 each. If a prompt decides
    them, more seeds do not help.

    Args:
        prompts: Number of prompts of each tag.
    """
    return {tag: Variance(WORST, 0.0) for tag in prompts}


def measured(plan: Plan, records: Sequence[Record]) -> dict[str, dict[str, Variance]]:
    """Variances of the paired differences of each method to the baseline in an earlier run.

    With one seed nothing tells prompts and seeds apart: all of it is taken as between prompts, so that more seeds are
    worth nothing and the forecast is cautious.

    Args:
        plan: Of the earlier run.
        records: Its results.

    Returns:
        Method -> tag -> variance; tags with fewer than two prompts are left out.

    Raises:
        ValueError: No pair is finished with all methods, or there is no method but the baseline.
    """
    rows = finished(plan, records)
    base = rows.pop(plan.reference)
    if not rows:
        raise ValueError(f"{plan.reference} is the only method of the earlier run; variances need two to compare")
    return {name: by_tag(mine, base) for name, mine in rows.items()}


def by_tag(mine: Sequence[Record], base: Sequence[Record]) -> dict[str, Variance]:
    """Variances of the differences of verdicts in each tag, by the analysis of variance of prompts and seeds."""
    cells: dict[str, dict[int, list[float]]] = {}
    for a, b in zip(mine, base, strict=True):
        cells.setdefault(a["tag"], {}).setdefault(a["prompt"], []).append(verdict(a) - verdict(b))
    return {tag: components(list(prompts.values())) for tag, prompts in cells.items() if len(prompts) > 1}


def components(groups: Sequence[Sequence[float]]) -> Variance:
    """The variance between groups and that within them, by one-way analysis of variance with a floor of 0."""
    between = float(np.var([np.mean(group) for group in groups], ddof=1))  # of means over seeds
    repeated = [np.var(group, ddof=1) for group in groups if len(group) > 1]
    if not repeated:
        return Variance(between, 0.0)
    within = float(np.mean(repeated))
    size = 1 / float(np.mean([1 / len(group) for group in groups]))
    return Variance(max(0.0, between - within / size), within)


def blind(variances: Mapping[str, Variance] | None, prompts: Mapping[str, int], seeds: int) -> float:
    """How far a method without any effect lies from the baseline in 95 % of runs, at most, in the overall score.

    Args:
        variances: Of differences between a control and the baseline; None for independent verdicts at one half.
        prompts: Number of prompts of each tag.
        seeds: Per prompt, each with noise of its own.
    """
    known = variances or {tag: Variance(0.0, WORST) for tag in prompts}
    return float(norm.ppf(0.975)) * standard_error(known, prompts, seeds)


def small_tags(prompts: Mapping[str, int], seeds: int) -> dict[str, float]:
    """Tags with few pictures, and how far a method without effect can move each of them in 95 % of runs.

    Args:
        prompts: Number of prompts of each tag.
        seeds: Per prompt.
    """
    return {tag: blind(None, {tag: n}, seeds) for tag, n in prompts.items() if n * seeds < SMALL}


def by_chance(comparisons: int) -> float:
    """The chance that at least one of several 95 % intervals excludes zero although nothing differs, if independent.

    Args:
        comparisons: How many there are.
    """
    return float(1 - (1 - LEVEL) ** comparisons)
