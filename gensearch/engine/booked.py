"""Single verifiers behind a ledger, one physical batch at a time; here scores and bills are charged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.price import columns, comparison
from verifiers.adapt import ask
from verifiers.batches import pieces
from verifiers.combine import judges
from verifiers.tournament.compare import Comparer
from verifiers.types import Media, Scores, Verifier

T = TypeVar("T")


def booked(verifier: Verifier, ledger: Ledger) -> Verifier:
    """A single verifier, or a comparer of pairs, behind a ledger.

    Args:
        verifier: Single.
        ledger: Pays for it.
    """
    return BookedComparer(verifier, ledger) if hasattr(verifier, "compare") else Booked(verifier, ledger)


class Booked:
    """A single verifier, called and booked one physical batch at a time; all at once without a `batch_size`."""

    def __init__(self, verifier: Verifier, ledger: Ledger) -> None:
        self._verifier = verifier
        self._ledger = ledger
        self.name = verifier.name
        self.differentiable = getattr(verifier, "differentiable", False)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The verifier's own scores; arguments as for every verifier."""

        def score(part: slice) -> Scores:
            return ask(self._verifier, media[part], prompts[part], progress=progress)

        return joined(self._batches(max(len(media), len(prompts)), score))  # so that it notices if they differ

    def _batches(self, rows: int, work: Callable[[slice], T]) -> list[T]:
        most = getattr(self._verifier, "batch_size", None)
        done = []
        for part, count, size in pieces(rows, most) if most else [(slice(0, rows), rows, rows)]:
            with billed(self._verifier, self._ledger):
                done.append(work(part))
            self._ledger.charge(Cost(scored=count), Cost(scored=size - count))
        return done


def joined(done: Sequence[Scores]) -> Scores:
    """The scores of several batches as one; parts that a batch lacks are NaN in its rows.

    Args:
        done: One or more.
    """
    if len(done) == 1:
        return done[0]
    names = dict.fromkeys(name for scores in done for name in scores.parts)
    parts = {
        name: torch.cat([scores.parts.get(name, torch.full_like(scores.total, torch.nan)).detach() for scores in done])
        for name in names
    }
    return Scores(torch.cat([scores.total for scores in done]), parts)


class BookedComparer(Booked):
    """A comparer of pairs, booked as Booked: one score for each ordered pair."""

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> torch.Tensor:
        """The comparer's own comparison [b]; arguments as for every comparer.

        Raises:
            BudgetSpent: They do not fit; nothing was run.
        """
        due = Cost(scored=1).plus(comparison(self._verifier)).times(len(prompts))
        self._ledger.require(f"comparing {len(prompts)} ordered pairs", due)
        judge = cast(Comparer, self._verifier)
        return torch.cat(
            self._batches(len(prompts), lambda part: judge.compare(media_a[part], media_b[part], prompts[part]))
        )


def paid(verifier: Verifier) -> list[Any]:
    """The remote models inside a verifier, which have a `bill`; none for one that costs no money.

    Args:
        verifier: It or what it wraps may have one.
    """
    return [inner for inner in judges(verifier) if hasattr(inner, "bill")]


@contextmanager
def billed(verifier: Verifier, ledger: Ledger) -> Iterator[None]:
    """Book what remote models charge for the work inside, also if it fails.

    Args:
        verifier: Which it is by; it or what it wraps may have a `bill`.
        ledger: Pays.
    """
    bills = paid(verifier)
    for inner in bills:
        inner.bill()  # what was spent outside any ledger
    try:
        yield
    finally:
        for inner in bills:
            ledger.charge(columns(inner, "bill", inner.bill()))
