"""What another way to select would have given, from stored candidates and without generating again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import perm
from typing import Any

import numpy as np

from gensearch.core.best_of import best_of
from gensearch.core.errors import nearest
from gensearch.evaluate.bootstrap import Interval, interval
from gensearch.evaluate.candidates import GUIDE, JUDGE, Candidates
from verifiers.calls import Call, read_call

ORDERS = 720  # ordered draws of n candidates up to which all are tried
DRAWS = 200  # random draws of n candidates otherwise
RANDOM = "random"  # the control: any candidate
Scores = Mapping[str, np.ndarray]


def replay(scores: Scores, policy: str, of: str, n: int, seed: int = 0) -> float:
    """The expected score of the sample that a policy selects among n candidates of a pool.

    One score as a policy, and `random`, are exact: the mean over all subsets of n, where equal scores win equally often
    (`best_of`). A vote and a cascade depend on what else was drawn. They are exact where there are up to 720 ordered
    draws of n, and otherwise the mean of 200 random ones. Unscored candidates win only against their like; a winner
    without the score `of` does not count.

    Args:
        scores: Of one pool of independent candidates, name -> [pool]; NaN for unscored.
        policy: `guide`, `judge` or another score's name, `random`, or `rank(a,b)` or `cascade(a,b,keep=4)` of such.
        of: The score that is reported.
        n: Candidates of one search, 1 to the size of the pool.
        seed: Determines random draws.

    Raises:
        ValueError: The policy names no score, or n is out of range.
    """
    value = scores[require(of, scores)]
    known, zeros = ~np.isnan(value), np.nan_to_num(value)
    if not 1 <= n <= len(value):
        raise ValueError(f"{policy} among {n} of {len(value)} candidates; take n from 1 to {len(value)}")
    call = read_call(policy)
    if call is None:
        by = np.zeros(len(value)) if policy == RANDOM else scores[require(policy, scores)]
        share = best_of(by, known, n)
        return best_of(by, zeros, n) / share if share > 0 else float("nan")
    drawn = orders(len(value), n, seed)
    rows = np.stack([scores[require(name, scores)][drawn] for name in call.inside])
    won = drawn[np.arange(len(drawn)), elect(call, rows)]
    return float(value[won][known[won]].mean()) if known[won].any() else float("nan")


def require(name: str, scores: Scores) -> str:
    """The name itself; raises ValueError if there is no such score."""
    if name not in scores:
        raise ValueError(f"no stored score is called {name!r}; there are {', '.join(scores)}{nearest(name, scores)}")
    return name


def orders(pool: int, n: int, seed: int) -> np.ndarray:
    """Ordered draws of n from a pool without replacement, [draws, n]: all of them if they are few."""
    if perm(pool, n) <= ORDERS:
        return np.array(list(permutations(range(pool), n)))
    return np.random.default_rng(seed).permuted(np.tile(np.arange(pool), (DRAWS, 1)), axis=1)[:, :n]


def elect(call: Call, scores: np.ndarray) -> np.ndarray:
    """The place of the winner in each draw, the first of equals, as the selectors of that name pick it.

    Args:
        call: `rank` of one score or more, or `cascade` of two with `keep`.
        scores: [scores of the call, draws, n].

    Raises:
        ValueError: Another form.
    """
    if call.form == "rank":
        return vote(scores)
    if call.form == "cascade" and len(scores) == 2:
        keep = int(call.settings.get("keep", 4))
        cheap, dear = np.where(np.isfinite(scores), scores, -np.inf)
        finalists = np.argsort(-cheap, axis=1, kind="stable")[:, :keep]
        best = np.argmax(np.take_along_axis(dear, finalists, 1), axis=1)
        chosen: np.ndarray = finalists[np.arange(len(best)), best]
        return chosen
    raise ValueError(f"{call.form} cannot be replayed here; take a score's name, rank(a,b) or cascade(a,b,keep=4)")


def vote(scores: np.ndarray) -> np.ndarray:
    """The winner by mean rank in each draw; a sample that one score lacks comes last and changes no other's rank."""
    lacking = ~np.isfinite(scores).all(0)
    ranks = np.zeros(scores.shape[1:])
    for each in np.where(lacking, np.nan, scores):
        mine, other = each[:, :, None], each[:, None, :]
        ranks += (other > mine).sum(-1) + (other == mine).sum(-1) / 2
    winners: np.ndarray = np.argmin(np.where(lacking, np.inf, ranks), axis=1)
    return winners


def sizes(pool: int) -> list[int]:
    """The n that curves show: powers of two, and the whole pool."""
    return sorted({2**k for k in range(pool.bit_length())} & set(range(1, pool + 1)) | {pool})


def policies(scores: Sequence[str], keep: int = 4) -> list[str]:
    """What is worth a comparison: each score alone, votes and cascades of guide and hold-outs, and both limits.

    Args:
        scores: Names of the stored scores.
        keep: Finalists of the cascades.
    """
    others = [name for name in scores if name not in (GUIDE, JUDGE)]
    votes = [f"rank({GUIDE},{','.join(others)})"] if others else []
    return [RANDOM, GUIDE, *others, *votes, *(f"cascade({GUIDE},{name},keep={keep})" for name in others), JUDGE]


def curve(
    given: Sequence[Candidates], tags: Sequence[str], policy: str, of: str, *, standard: bool = False
) -> dict[int, Interval]:
    """The mean over tags of what a policy gives, for n = 1, 2, 4 ... to the smallest pool, with intervals over prompts.

    Seeds of a prompt are averaged first. The judge's verdict counts as 0 where it is missing, as in the tables.

    Args:
        given: Candidates of trials of one method.
        tags: The tag of each trial's prompt.
        policy: As `replay` takes it.
        of: The score that is reported.
        standard: Whether to report it in standard deviations within each pool, from the pool's mean.

    Raises:
        ValueError: Candidates were made from each other, so that fewer of them are no search; or as `replay`.
    """
    if related := [one.method for one in given if not one.independent]:
        raise ValueError(
            f"candidates of {related[0]} were made from each other, so that n of them are no search of n samples; "
            "replay a method that draws independent samples, such as best_of_n"
        )
    found = {}
    for n in sizes(min(len(one.nfe) for one in given)):
        by_prompt: dict[tuple[str, int], list[float]] = {}
        for one, tag in zip(given, tags, strict=True):
            value = replay(prepared(one.scores, of, standard), policy, of, n, seed=one.prompt)
            if value == value:
                by_prompt.setdefault((tag, one.prompt), []).append(value)
        if by_prompt:
            found[n] = interval([float(np.mean(v)) for v in by_prompt.values()], [tag for tag, _ in by_prompt])
    return found


def prepared(scores: Scores, of: str, standard: bool) -> dict[str, np.ndarray]:
    """Scores with the reported one as `curve` counts it; policies are indifferent to the change."""
    value = scores[require(of, scores)]
    if of == JUDGE and not standard:
        value = np.nan_to_num(value)
    if standard and (~np.isnan(value)).any():
        spread = np.nanstd(value)
        value = (value - np.nanmean(value)) / (spread if spread > 0 else 1)
    return {**scores, of: value}


def as_json(found: Mapping[int, Interval]) -> dict[str, Any]:
    """A curve as plain data, None for what is unknown."""
    return {str(n): {k: v if v == v else None for k, v in one._asdict().items()} for n, one in found.items()}
