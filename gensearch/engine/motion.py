"""How much the clips of a search move, so that a judge that buys beauty with stillness is seen."""

from __future__ import annotations

from math import isfinite
from statistics import fmean

import torch

from gensearch.core.result import Motion
from gensearch.core.types import Round
from verifiers.video.motion import Motion as Mover


class Dynamics:
    """The motion of every clip that a search judged (ImagerySearch, arXiv:2510.14847, on why it is watched)."""

    def __init__(self) -> None:
        self._finished: dict[int, float] = {}
        self._early: dict[int, float] = {}  # previews that nothing came from yet

    @torch.no_grad()
    def add(self, round: Round) -> None:
        """Take note of a round; pictures, and beginnings of one frame, do not move."""
        for parent in round.parents:
            if parent is not None:
                self._early.pop(parent, None)
        if round.media.ndim != 5 or round.media.shape[1] < 2:
            return
        totals = Mover()(round.media, [""] * len(round.ids)).total.tolist()
        (self._finished if round.done else self._early).update(zip(round.ids, totals, strict=True))

    def of(self, winner: int) -> Motion | None:
        """What a finished clip compares with; None for pictures and for clips that are no numbers."""
        leaves = [total for total in (*self._finished.values(), *self._early.values()) if isfinite(total)]
        own = self._finished.get(winner, float("nan"))
        return Motion(own, fmean(leaves)) if isfinite(own) else None
