"""How an evaluation stands while it runs: the score of each method so far, and what it has cost."""

from __future__ import annotations

from collections.abc import Sequence

from gensearch.core.ledger import Cost
from gensearch.evaluate.journal import Record
from gensearch.evaluate.table import verdict


class Running:
    """Adds up records as they come.

    Args:
        found: Records of earlier runs.
    """

    def __init__(self, found: Sequence[Record] = ()) -> None:
        self._right: dict[str, float] = {}
        self._count: dict[str, int] = {}
        self._spent, self._seconds = Cost(), 0.0
        for record in found:
            self.add(record)

    def add(self, record: Record) -> None:
        """Count one more record."""
        name = record["method"]
        self._right[name] = self._right.get(name, 0.0) + verdict(record)
        self._count[name] = self._count.get(name, 0) + 1
        self._spent = self._spent.plus(Cost(**record["spent"]))
        self._seconds += record["seconds"]

    def __str__(self) -> str:
        """Methods with the mean verdict of their pictures, and the cost of all of them together."""
        scores = [f"{name} {self._right[name] / count:.2f} ({count})" for name, count in self._count.items()]
        unit = f"{self._spent.tokens:,} tokens" if self._spent.tokens else f"{self._spent.nfe:,} NFE"
        money = f", ${self._spent.microdollars / 1e6:.2f}" if self._spent.microdollars else ""
        return f"{', '.join(scores)}; {unit}, {self._seconds:.0f} s of search{money}"
