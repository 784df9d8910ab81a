"""Swiss system: in each round candidates of equal points meet, and nobody drops out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from verifiers.tournament.knockout import Play, score


def swiss(count: int, play: Play, rounds: int | None = None) -> tuple[int | None, Tensor]:
    """Hold rounds of count // 2 bouts each, between neighbours in the ranking that have not met.

    Source: a control, without a paper. With an odd number the last in the ranking without a bye has one, which counts
    as a win. Equal points are decided by the points of the opponents, then by the seed.

    Args:
        count: candidates 0 to count - 1, best seed first; 1 or more.
        play: decides the bouts of one round.
        rounds: 1 or more; None for as many as leave one unbeaten.

    Returns:
        The winner, and the points of each candidate from bouts, float64 [count]; NaN without a verdict. No winner
        without any.
    """
    points = torch.full((count,), torch.nan, dtype=torch.float64)
    met: list[set[int]] = [set() for _ in range(count)]
    free: set[int] = set()
    if count == 1:
        return 0, points
    for _ in range(held(count, rounds)):
        order = sorted(range(count), key=lambda i: (-total(points, free)[i], i))
        if count % 2:
            bye = next((i for i in reversed(order) if i not in free), order[-1])
            free.add(bye)
            order.remove(bye)
        pairs = paired(order, met) or list(zip(order[::2], order[1::2], strict=True))
        for a, b in pairs:
            met[a].add(b)
            met[b].add(a)
        score(points, pairs, play(pairs))
    final = total(points, free)
    known = [i for i in range(count) if not points[i].isnan()]
    return min(known, key=lambda i: (-final[i], -sum(final[j] for j in met[i]), i), default=None), points


def total(points: Tensor, free: set[int]) -> list[float]:
    """Return the points of each candidate with its bye, 0 without any.

    Args:
        points: from bouts [n], NaN for candidates without a verdict.
        free: candidates that had a bye.
    """
    return [value + (candidate in free) for candidate, value in enumerate(points.nan_to_num(0.0).tolist())]


def held(count: int, rounds: int | None = None) -> int:
    """Return how many rounds are held: enough to leave one unbeaten by default, at most half as many as candidates.

    Args:
        count: candidates, 1 or more.
        rounds: that were asked for.
    """
    return min((count - 1).bit_length() if rounds is None else rounds, (count + 1) // 2)


def paired(order: Sequence[int], met: Sequence[set[int]]) -> list[tuple[int, int]]:
    """Pair each candidate with the next in the ranking that it has not met, so that all find a new opponent.

    Args:
        order: the ranking, an even number of candidates.
        met: opponents of each candidate so far.

    Returns:
        The first such pairing in the order of the ranking; empty if there is none.
    """
    for other in order[1:]:
        if other not in met[order[0]]:
            rest = [candidate for candidate in order[1:] if candidate != other]
            others = paired(rest, met)
            if others or not rest:
                return [(order[0], other), *others]
    return []
