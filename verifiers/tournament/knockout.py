"""Knockout: the loser of each bout drops out, until one candidate is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Play = Callable[[Sequence[tuple[int, int]]], list[float]]  # bouts -> shares won by their first candidates


def knockout(count: int, play: Play) -> tuple[int | None, Tensor]:
    """Hold a knockout of count - 1 bouts, in which the best seeds meet the worst.

    Source: a control, without a paper. With an odd number the best seed has a bye. After a tie the better seed goes
    on. Without a verdict the one with more points goes on, then the better seed; a candidate that nobody could compare
    does not win.

    Args:
        count: candidates 0 to count - 1, best seed first; 1 or more.
        play: decides the bouts of one round.

    Returns:
        The winner, and the bouts that each candidate won, a tie as a half, float64 [count]; NaN without a verdict.
    """
    points = torch.full((count,), torch.nan, dtype=torch.float64)
    left = list(range(count))
    while len(left) > 1:
        byes, rest = left[: len(left) % 2], left[len(left) % 2 :]
        pairs = [(rest[place], rest[-1 - place]) for place in range(len(rest) // 2)]
        shares = play(pairs)
        score(points, pairs, shares)
        left = byes + sorted(stays(points, pair, share) for pair, share in zip(pairs, shares, strict=True))
    winner = left[0]
    return (None if count > 1 and points[winner].isnan() else winner), points


def stays(points: Tensor, pair: tuple[int, int], share: float) -> int:
    """Return who goes on after a bout, the better seed of equals.

    Args:
        points: so far [n], NaN for candidates without a verdict.
        pair: the bout, the better seed first.
        share: won by the first; NaN for no verdict.
    """
    if math.isnan(share):
        ahead, behind = (float(points[candidate].nan_to_num(-1.0)) for candidate in pair)
        return pair[behind > ahead]
    return pair[share < 0.5]


def score(points: Tensor, pairs: Sequence[tuple[int, int]], shares: Sequence[float]) -> None:
    """Add bouts to the points in place: 1 for a win, a half for a tie, nothing without a verdict.

    Args:
        points: so far [n], NaN for candidates without a verdict.
        pairs: the bouts.
        shares: won by their first candidates; NaN for no verdict.
    """
    for pair, share in zip(pairs, shares, strict=True):
        if not math.isnan(share):
            for candidate, own in zip(pair, (share, 1 - share), strict=True):
                won = 1.0 if own > 0.5 else 0.5 if own == 0.5 else 0.0
                points[candidate] = points[candidate].nan_to_num(0.0) + won
