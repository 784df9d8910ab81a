"""What a search comes to: its samples, the curve of its best score, its lineage, and the Result of them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.types import Recipe, Round, Sizes
from verifiers.types import Media


class Point(NamedTuple):
    """One point of the anytime curve, one for each finished sample: what was spent so far, and the best score.

    Under a rank vote that is the best score of its first judge, which the elected sample need not have.
    """

    spent: Cost
    seconds: float
    best: float


class Node(NamedTuple):
    """One finished sample in the lineage of a search."""

    id: int
    parent: int | None  # the sample that it was derived from
    recipe: Recipe
    score: float  # of the judge that selects; -inf if it could not score


class Motion(NamedTuple):
    """Mean absolute changes of a pixel from frame to frame, in [0, 1]: reward hacking shows in them."""

    winner: float
    leaves: float  # the mean of all finished clips, and of all beginnings of two frames or more that were given up

    @property
    def still(self) -> bool:
        """Whether the winner moves less than half as much as what it was chosen from."""
        return self.winner < self.leaves / 2


class Sample(NamedTuple):
    """One finished, scored sample."""

    id: int
    media: Media  # [3, h, w] or [t, 3, h, w]
    score: float
    parts: dict[str, float]
    recipe: Recipe
    parent: int | None
    sizes: Sizes = ()  # of the physical batches that it went through


@dataclass
class Progress:
    """The state of a search after one round: the round itself, the best finished sample so far, the account.

    The last one is told if the search broke off after it: `stopped` says why, and `unscored` grows.
    """

    round: Round
    best: Sample | None
    base: Sample | None  # the first finished sample
    curve: tuple[Point, ...]
    lineage: tuple[Node, ...]  # one for each finished sample, in order
    ledger: Ledger
    unscored: int  # samples without a finite score so far
    unit: Cost  # the price of one ordinary sample
    motion: Motion | None = None  # of clips
    stopped: str = ""


@dataclass(frozen=True)
class Result:
    """The outcome of a search."""

    best: Sample
    base: Sample  # the first finished sample: what one ordinary call would have returned
    curve: tuple[Point, ...]
    lineage: tuple[Node, ...]  # one for each finished sample, in order
    ledger: Ledger
    unscored: int
    stopped: str  # why: "finished", "budget", "closed", or "unscorable": the next round could not be scored at all
    motion: Motion | None = None  # of clips
