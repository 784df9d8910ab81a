"""The motion of the clips of a search, to detect verifiers that prefer still clips."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

import torch

from gensearch.core.result import Motion
from gensearch.core.types import Round
from verifiers.video.motion import Motion as Mover


class Dynamics:
    """The motion of every clip that a search scored (ImagerySearch, arXiv:2510.14847, on why it is measured)."""

    def __init__(self) -> None:
        self._finished: dict[int, float] = {}
        self._early: dict[int, float] = {}  # previews that nothing came from yet
        self._sum, self._count = Fraction(0), 0  # of both, where they are finite; exact, in any order

    @torch.no_grad()
    def add(self, round: Round) -> None:
        """Measure the clips of a round; pictures and clips of a single frame are skipped.

        Args:
            round: What a search yielded.
        """
        for parent in round.parents:
            if parent is not None:
                self._book(self._early.pop(parent, float("nan")), -1)
        if round.media.ndim != 5 or round.media.shape[1] < 2:
            return
        totals = Mover()(round.media, [""] * len(round.ids)).total.tolist()
        into = self._finished if round.done else self._early
        for sample, total in zip(round.ids, totals, strict=True):
            self._book(into.pop(sample, float("nan")), -1)
            into[sample] = total
            self._book(total, 1)

    def of(self, winner: int) -> Motion | None:
        """The motion of a finished clip beside the mean; None for pictures and for clips with NaN.

        Args:
            winner: The id of the clip.
        """
        own = self._finished.get(winner, float("nan"))
        return Motion(own, float(self._sum) / self._count) if isfinite(own) else None

    def _book(self, total: float, count: int) -> None:
        if isfinite(total):
            self._sum, self._count = self._sum + count * Fraction(total), self._count + count
