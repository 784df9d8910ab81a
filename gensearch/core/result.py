"""What a search comes to: its samples, the curve of its best score, its lineage, and the Result of them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar, overload

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.types import Recipe, Round, Sizes
from verifiers.types import Media

T = TypeVar("T", covariant=True)


class Prefix(Sequence[T]):
    """The first entries of a list that only grows, as many as there were when this was made; compares as a tuple.

    It takes no copy, so that a search of many rounds can hand one out after each of them.
    """

    __slots__ = ("_entries", "_length")

    def __init__(self, entries: list[T]) -> None:
        """A view of what is in the list now; whoever owns the list may append to it and do nothing else."""
        self._entries, self._length = entries, len(entries)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        places = range(self._length)[index]  # raises IndexError beyond the end
        return self._entries[places] if isinstance(places, int) else tuple(self._entries[i] for i in places)

    def __iter__(self) -> Iterator[T]:
        return islice(self._entries, self._length)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prefix | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Prefix, (list(self),)

    def __repr__(self) -> str:
        return repr(tuple(self))


class Point(NamedTuple):
    """One point of the anytime curve, one for each finished sample: what was spent so far, and the best score.

    Under a rank vote that is the best score of its first verifier, which the elected sample need not have.
    """

    spent: Cost
    seconds: float
    best: float


class Node(NamedTuple):
    """One finished sample in the lineage of a search."""

    id: int
    parent: int | None  # the sample that it was derived from
    recipe: Recipe
    score: float  # of the verifier that selects; -inf if it could not score


class Motion(NamedTuple):
    """Mean absolute change of a pixel from frame to frame, in [0, 1]: shows verifiers that prefer still clips."""

    winner: float
    leaves: float  # the mean of all finished clips, and of all prefixes of two frames or more that were pruned

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

    `curve` and `lineage` stay as they are while the search goes on; the ledger is the search's own. If the search broke
    off after the last one, its `stopped` says why, and its `unscored` grows.
    """

    round: Round
    best: Sample | None
    base: Sample | None  # the first finished sample
    curve: Sequence[Point]  # one for each finished sample, in order
    lineage: Sequence[Node]  # the same
    ledger: Ledger
    unscored: int  # samples without a finite score so far
    unit: Cost  # of one sample of proposed noise, scored by the verifiers
    motion: Motion | None = None  # of clips
    stopped: str = ""


@dataclass(frozen=True)
class Result:
    """The outcome of a search."""

    best: Sample
    base: Sample  # the first finished sample: what one call of the model would have returned
    curve: tuple[Point, ...]  # one for each finished sample, in order
    lineage: tuple[Node, ...]  # the same
    ledger: Ledger
    unscored: int
    stopped: str  # why: "finished", "budget", "closed", or "unscorable": the next round could not be scored at all
    motion: Motion | None = None  # of clips
