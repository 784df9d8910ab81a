"""Round robin: everybody meets everybody once."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from verifiers.combine.elector import first_best
from verifiers.tournament.bradley_terry import bradley_terry
from verifiers.tournament.knockout import Play


def round_robin(count: int, play: Play) -> tuple[int | None, Tensor]:
    """Hold count (count - 1) / 2 bouts, and fit strengths to their shares.

    The fit is that of Bradley and Terry, by `bradley_terry`. A bout without a verdict does not count.

    Args:
        count: candidates 0 to count - 1, best seed first; 1 or more.
        play: decides all bouts at once.

    Returns:
        The strongest, of equals the better seed, and log strengths float64 [count]; NaN without a verdict. No winner
        without any.
    """
    if count == 1:
        return 0, torch.full((1,), torch.nan, dtype=torch.float64)
    pairs = list(combinations(range(count), 2))
    wins = torch.zeros(count, count, dtype=torch.float64)
    for (a, b), share in zip(pairs, play(pairs), strict=True):
        if not math.isnan(share):
            wins[a, b], wins[b, a] = share, 1 - share
    strengths = bradley_terry(wins)
    return first_best(strengths.round(decimals=6)), strengths  # equal records differ by rounding only
