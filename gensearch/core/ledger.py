"""The one account of compute: every network pass is charged per sample, and refused before it would overspend."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What has been or would be spent, counted per sample and never per call."""

    nfe: int = 0  # denoiser forwards; guidance counts two
    backward: int = 0
    decoded: int = 0
    scored: int = 0
    tokens: int = 0  # token row-steps of autoregressive models
    proposed: int = 0  # passes of a proposal's own network
    prefills: int = 0  # contexts that were read, each row of guidance by itself

    @property
    def work(self) -> int:
        """What searches of all kinds compare by: denoiser passes, a backward one counted as two forward ones.

        A pass of a proposal's network counts as one, however small it is. For token models it is token row-steps.
        """
        return self.nfe + 2 * self.backward + self.proposed + self.tokens

    def plus(self, other: Cost) -> Cost:
        """The sum, column by column."""
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: int) -> Cost:
        """This cost `factor` times."""
        return Cost(*(factor * a for a in self))


COLUMNS = (*Cost._fields, "work")  # what can be limited


class BudgetSpent(RuntimeError):
    """Raised before work that the ledger cannot pay."""


@dataclass
class Ledger:
    """Limits on some of `COLUMNS`, what was spent, and what only filled physical batches.

    `total`, which is spent + padding, equals the rows that really went through each network.
    """

    limit: Mapping[str, int] = field(default_factory=dict)
    spent: Cost = Cost()
    padding: Cost = Cost()
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for name, value in self.limit.items():
            if name not in COLUMNS:
                raise ValueError(f"a ledger has no column {name!r}; it counts {', '.join(COLUMNS)}")
            if value < 0:
                raise ValueError(f"the limit on {name} is {value}; a limit is 0 or more")

    @property
    def seconds(self) -> float:
        """Seconds since the ledger was opened."""
        return time.monotonic() - self.started

    def left(self, column: str) -> float:
        """What may still be spent in a column; infinite without a limit."""
        return self.limit[column] - getattr(self.spent, column) if column in self.limit else float("inf")

    def affords(self, cost: Cost) -> float:
        """How many times `cost` still fits; infinite if nothing that it needs is limited."""
        needed = {column: getattr(cost, column) for column in self.limit}
        return min((self.left(column) // value for column, value in needed.items() if value), default=float("inf"))

    def require(self, why: str, cost: Cost) -> None:
        """Refuse up front what would not fit; raises BudgetSpent naming the need, what is left and a way out."""
        for column in self.limit:
            value = getattr(cost, column)
            if value > self.left(column):
                raise BudgetSpent(
                    f"{why} needs {value} {column}; {int(self.left(column))} are left. "
                    f"Raise the limit on {column} to {getattr(self.spent, column) + value} or ask for less."
                )

    def rounds(self, at_most: int | None, cost: Cost) -> Iterator[int]:
        """Count rounds of a given cost: at most so many (None: as many as fit), stopping before the first misfit."""
        done = 0
        while (at_most is None or done < at_most) and self.affords(cost) >= 1:
            yield done
            done += 1

    def charge(self, cost: Cost, padding: Cost = Cost()) -> None:
        """Book work that was done."""
        self.spent = self.spent.plus(cost)
        self.padding = self.padding.plus(padding)

    @property
    def total(self) -> Cost:
        """What went through the networks: what was spent, and what only filled physical batches."""
        return self.spent.plus(self.padding)

    def report(self) -> dict[str, Any]:
        """The account as plain data."""
        return {
            "spent": self.spent._asdict(),
            "padding": self.padding._asdict(),
            "total": self.total._asdict(),
            "limit": dict(self.limit),
            "seconds": round(self.seconds, 3),
        }
