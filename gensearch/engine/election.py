"""The election of a winner among the finished samples of a search."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import cast

import torch

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.price import election
from gensearch.core.result import Election, Progress, Sample
from gensearch.engine.booked import booked
from verifiers.combine import Elected, Elector, Pool, first_best, with_leaves


class Ballot:
    """The candidates of one search, and the election among them.

    An election that needs no further calls is held after each round. Any other is held once, at the end; until then
    the candidate with the best score leads.

    Args:
        elector: Elects.
        ledger: Pays for its calls, and has reserved them.
        prompt: Of the search.
    """

    def __init__(self, elector: Elector, ledger: Ledger, prompt: str) -> None:
        self._elector = elector
        self._booked = cast(Elector, with_leaves(elector, lambda single: booked(single, ledger)))
        self._ledger = ledger
        self._prompt = prompt
        self._samples: list[Sample] = []
        self._leader: int | None = None

    def add(self, samples: Sequence[Sample]) -> Sample | None:
        """Who leads after one more round; None if nobody can win so far.

        Args:
            samples: Finished in the round.
        """
        self._samples += samples
        if self._elector.final is None:
            return self._winner(self._elector.elect(self._pool()))
        self._leader = first_best(self._pool().scores)
        return None if self._leader is None else self._samples[self._leader]

    @torch.no_grad()
    def decide(self, last: Progress) -> None:
        """Hold the election at the end of a search, and put its winner and its facts into the last progress.

        If no finalist has a verdict, the leader stays, unless it was vetoed, and the search counts as unscorable.

        Args:
            last: That the search yielded.

        Raises:
            BudgetSpent: The calls do not fit.
        """
        if self._leader is None:
            return
        self._ledger.reserved = Cost()
        finalists = min(self._elector.keep, int(self._pool().scores.isfinite().sum()))
        self._ledger.require(f"{self._elector.name} among {finalists} finalists", election(self._elector, finalists))
        before = self._ledger.spent.scored
        elected = self._booked.elect(self._pool())
        calls, count = self._ledger.spent.scored - before, len(self._samples)
        every = election(self._elector, count).scored
        last.election = Election(self._elector.name, count, calls, every, elected.about)
        if elected.winner is None:
            last.stopped = last.stopped or "unscorable"
            vetoed = any(float(values[self._leader]) == -torch.inf for values in elected.parts.values())
            last.best = None if vetoed else last.best
        else:
            last.best = self._winner(elected)

    def _pool(self) -> Pool:
        names = list(dict.fromkeys(name for sample in self._samples for name in sample.parts))
        parts = {name: numbers([sample.parts.get(name, nan) for sample in self._samples]) for name in names}
        scores = numbers([sample.score for sample in self._samples])
        return Pool(self._prompt, [sample.media for sample in self._samples], scores, parts)

    def _winner(self, elected: Elected) -> Sample | None:
        if elected.winner is None:
            return None
        sample = self._samples[elected.winner]
        found = {name: float(values[elected.winner]) for name, values in elected.parts.items()}
        return sample._replace(parts={**sample.parts, **{k: v for k, v in found.items() if not isnan(v)}})


def numbers(values: Sequence[float]) -> torch.Tensor:
    """Float64 [n]."""
    return torch.tensor(values, dtype=torch.float64)
