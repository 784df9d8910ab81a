"""The account of compute: every network pass is charged per sample, and refused before it would exceed a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """An amount of compute, counted per sample and never per call.

    Attributes:
        nfe: Denoiser forwards (network function evaluations); guidance counts two.
        backward: Denoiser backwards.
        decoded: Samples that were decoded.
        scored: Scores, one for each sample and single verifier.
        tokens: Token row-steps of autoregressive image models; guidance counts two rows.
        proposed: Forwards of a proposal's own network.
        prefills: Contexts that were encoded; guidance counts two.
        critic_tokens: Tokens that remote critics read and wrote.
        microdollars: Money for them, in millionths of a dollar.
    """

    nfe: int = 0
    backward: int = 0
    decoded: int = 0
    scored: int = 0
    tokens: int = 0
    proposed: int = 0
    prefills: int = 0
    critic_tokens: int = 0
    microdollars: int = 0

    @property
    def work(self) -> int:
        """One number to compare searches by: nfe + 2 backward + proposed + tokens.

        A backward counts as two forwards, and a forward of a proposal's network as one, however small it is.
        """
        return self.nfe + 2 * self.backward + self.proposed + self.tokens

    def plus(self, other: Cost) -> Cost:
        """The sum of two costs, column by column."""
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: int) -> Cost:
        """This cost `factor` times."""
        return Cost(*(factor * a for a in self))


COLUMNS = (*Cost._fields, "work")  # what can be limited


class BudgetSpent(RuntimeError):
    """The ledger cannot pay for a call, which was not started."""


@dataclass
class Ledger:
    """Limits on some of `COLUMNS`, what was spent on samples, and what was spent on padding of physical batches.

    Attributes:
        limit: The most that columns may reach, by name, 0 or more each.
        spent: On samples.
        padding: On rows that only filled physical batches; spent + padding are the rows that went through the networks.
        reserved: Kept back for the end of the search, such as for the election of its winner.
        started: `time.monotonic()` when the ledger was opened.

    Raises:
        ValueError: A limit is negative or on an unknown column.
    """

    limit: Mapping[str, int] = field(default_factory=dict)
    spent: Cost = Cost()
    padding: Cost = Cost()
    reserved: Cost = Cost()
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
        """What may still be spent in a column; infinite without a limit.

        Args:
            column: One of `COLUMNS`.
        """
        if column not in self.limit:
            return float("inf")
        return float(self.limit[column] - getattr(self.spent, column) - getattr(self.reserved, column))

    def affords(self, cost: Cost) -> float:
        """How many times a cost still fits; infinite if none of its columns is limited.

        Args:
            cost: Of one sample or round.
        """
        needed = {column: getattr(cost, column) for column in self.limit}
        return min((self.left(column) // value for column, value in needed.items() if value), default=float("inf"))

    def require(self, why: str, cost: Cost) -> None:
        """Refuse a call that does not fit, before it starts.

        Args:
            why: What needs the cost, for the message.
            cost: Of the whole call.

        Raises:
            BudgetSpent: It does not fit; the message names the need, what is left and a way out.
        """
        for column in self.limit:
            value = getattr(cost, column)
            if value > self.left(column):
                kept = getattr(self.reserved, column)
                raise BudgetSpent(
                    f"{why} needs {value} {column}; {max(0, int(self.left(column)))} are left"
                    f"{f' beside {kept} for the end' if kept else ''}. "
                    f"Raise the limit on {column} to {getattr(self.spent, column) + kept + value} or ask for less."
                )

    def rounds(self, at_most: int | None, cost: Cost) -> Iterator[int]:
        """Count rounds from 0, as long as the next one fits.

        Args:
            at_most: The most rounds; None for as many as fit.
            cost: Of one round.
        """
        done = 0
        while (at_most is None or done < at_most) and self.affords(cost) >= 1:
            yield done
            done += 1

    def charge(self, cost: Cost, padding: Cost = Cost()) -> None:
        """Book compute that was done.

        Args:
            cost: On samples.
            padding: On rows that only filled physical batches.
        """
        self.spent = self.spent.plus(cost)
        self.padding = self.padding.plus(padding)

    @property
    def total(self) -> Cost:
        """What went through the networks: spent + padding."""
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
