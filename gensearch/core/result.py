"""The outcome of a search: its best sample, the curve of its best score, its lineage and its cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, overload

from torch import Tensor

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.types import Recipe, Round, Sizes
from verifiers.types import Media, Scores

T = TypeVar("T", covariant=True)


class Prefix(Sequence[T]):
    """A read-only view of the first entries of a list that only grows; compares as a tuple.

    It takes no copy, so that a search of many rounds can hand one out after each of them.

    Args:
        entries: The view covers what is in it now; its owner may append to it and do nothing else.
    """

    __slots__ = ("_entries", "_length")

    def __init__(self, entries: list[T]) -> None:
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
    """One point of the anytime curve; there is one for each finished sample.

    Attributes:
        spent: On everything so far.
        seconds: Since the search began.
        best: The best score so far; under an election that of its first verifier, or of the guide,
            which the elected sample may lack.
    """

    spent: Cost
    seconds: float
    best: float


class Node(NamedTuple):
    """One finished sample in the lineage of a search.

    Attributes:
        id: Unique within the search.
        parent: The sample that it was derived from; None for a new start.
        recipe: How to reproduce its noise.
        score: Of the selector; -inf if it could not score.
    """

    id: int
    parent: int | None
    recipe: Recipe
    score: float


class Motion(NamedTuple):
    """Mean absolute change of a pixel from frame to frame, in [0, 1]; reveals verifiers that prefer still clips.

    Attributes:
        winner: Of the best clip.
        leaves: The mean over all finished clips and all pruned prefixes of two frames or more.
    """

    winner: float
    leaves: float

    @property
    def still(self) -> bool:
        """Whether the winner moves less than half as much as what it was chosen from."""
        return self.winner < self.leaves / 2


class Election(NamedTuple):
    """How the winner was elected among the finished samples, where that took calls of a verifier at the end.

    Attributes:
        by: The name of the elector.
        candidates: Finished samples.
        calls: Scores, or ordered pairs that were compared, which the verifier of finalists gave.
        without_shortlist: The calls that it would have given if all candidates had been finalists.
        about: Further facts, such as the ties of a tournament, by name.
    """

    by: str
    candidates: int
    calls: int
    without_shortlist: int
    about: Mapping[str, float]

    def __str__(self) -> str:
        """What it took, in one sentence."""
        return (
            f"The winner was elected among {self.candidates} samples with {self.calls} calls of the verifier of "
            f"finalists; on all samples there would have been {self.without_shortlist}."
        )


class Seen(NamedTuple):
    """What the guard against over-optimisation noted while a search ran.

    Attributes:
        thumbnails: A row of coarse cells for each finished sample, in order.
        reference: Hold-out -> its scores of the first finished samples, by id.
        seconds: That this took, outside the ledger's clock.
        terms: What each verifier of the sum that picks added to the score of each finished sample, in order; none
            without a sum.
        aside: What hold-outs spent so far, outside the ledger.
    """

    thumbnails: Sequence[Tensor] = ()
    reference: Mapping[str, Mapping[int, float]] = MappingProxyType({})
    seconds: float = 0.0
    terms: Sequence[Sequence[float]] = ()
    aside: Cost = Cost()


class Sample(NamedTuple):
    """One finished, scored sample.

    Attributes:
        id: Unique within the search.
        media: [3, h, w] or [t, 3, h, w] in [0, 1].
        score: Of the selector.
        parts: Scores of the selector's components, by name.
        recipe: How to reproduce its noise.
        parent: The sample that it was derived from; None for a new start.
        sizes: Of the physical batches that it went through.
    """

    id: int
    media: Media
    score: float
    parts: dict[str, float]
    recipe: Recipe
    parent: int | None
    sizes: Sizes = ()


@dataclass
class Progress:
    """The state of a search after one round.

    `curve` and `lineage` stay as they are while the search goes on; the ledger is the search's own. If an exception
    ends a search that has found something, the last progress gets it in `stopped`, `error` and `trace`. An election at
    the end of the search puts its winner into `best` of the last progress; until then the candidate with the best score
    stands there.

    Attributes:
        round: What the search yielded.
        best: The best finished sample so far; None until one has a score.
        base: The first finished sample.
        curve: One point for each finished sample, in order.
        lineage: The same for its nodes.
        ledger: The account, which goes on changing.
        unscored: Samples without a finite score so far.
        unit: The cost of one sample, with its noise and scores.
        motion: Of clips.
        stopped: "error" if an exception ended the search, "unscorable" if no finalist of an election got a verdict.
        election: Of the winner, at the end of the search.
        seen: What the guard noted so far.
        rounds: The number of samples of each finished round.
        error: What the exception was, in one line.
        trace: Where it was raised.
        scores: Of the finished samples of the round, by the verifier that picks; None if nothing was finished.
    """

    round: Round
    best: Sample | None
    base: Sample | None
    curve: Sequence[Point]
    lineage: Sequence[Node]
    ledger: Ledger
    unscored: int
    unit: Cost
    motion: Motion | None = None
    stopped: str = ""
    election: Election | None = None
    seen: Seen = Seen()
    rounds: Sequence[int] = ()
    error: str = ""
    trace: str = ""
    scores: Scores | None = None


@dataclass(frozen=True)
class Result:
    """The outcome of a search.

    Attributes:
        best: The best finished sample.
        base: The first finished sample: what one call of the model returns for this seed.
        curve: One point for each finished sample, in order.
        lineage: The same for its nodes.
        ledger: What was spent.
        unscored: Samples without a finite score.
        stopped: Why: "finished", "budget", "closed", "error" if an exception ended it after the best was found, or
            "unscorable" if no finalist of an election could be scored.
        motion: Of clips.
        election: Of the winner, where it took calls at the end of the search.
        seen: What the guard noted.
        error: The exception, in one line.
        trace: Where it was raised.
        rounds: The number of samples of each finished round.
        unspent: What is left of the limits of the ledger, by column, if one more sample could have been paid.
    """

    best: Sample
    base: Sample
    curve: tuple[Point, ...]
    lineage: tuple[Node, ...]
    ledger: Ledger
    unscored: int
    stopped: str
    motion: Motion | None = None
    election: Election | None = None
    seen: Seen = Seen()
    error: str = ""
    trace: str = ""
    rounds: tuple[int, ...] = ()
    unspent: Mapping[str, int] = field(default_factory=dict)
