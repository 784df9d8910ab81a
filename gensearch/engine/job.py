"""One resolved search: its parts with everything that they need but a prompt and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gensearch.core.noise import gaussian
from gensearch.core.price import price
from gensearch.core.types import Model, Proposal, Search
from gensearch.search.knobs import bounded, checked_knobs
from verifiers.combine import Panel
from verifiers.types import Verifier

DEFAULT_COMPUTE = 16.0  # multiples of one sample's cost


@dataclass(frozen=True, eq=False)
class Job:
    """What `start` runs, as often as it is given a prompt and a seed. It is trusted: whoever makes one checks it.

    `SearchPipeline` makes jobs from names, `gensearch.stream` from objects; both check knobs by `checked_knobs` and
    roles by `Panel`.

    Attributes:
        model: The generator.
        search: The algorithm.
        panel: The verifiers by role: `guide` steers, `select` picks the winner, each `holdout` only reports.
        knobs: Arguments of the search by name, as its annotations want them.
        propose: Where the noise that a search starts from comes from.
        compute: Budget in multiples of one sample's cost in work (network function evaluations and token steps), 1 or
            more; None where knobs or `limit` bound the search.
        limit: The most that columns of the ledger may reach, by name, 0 or more each.
    """

    model: Model
    search: Search
    panel: Panel
    knobs: Mapping[str, Any] = field(default_factory=dict)
    propose: Proposal = gaussian
    compute: float | None = None
    limit: Mapping[str, int] = field(default_factory=dict)

    @property
    def select(self) -> Verifier | None:
        """The verifier that scores finished samples in place of the guide; None if the guide's own scores decide."""
        return None if self.panel.select is self.panel.guide else self.panel.select

    @property
    def limits(self) -> dict[str, int]:
        """The most that each column of the ledger may reach, with `compute` as so much work."""
        limits = dict(self.limit)
        if self.compute is not None:
            limits["work"] = min(int(self.compute * price(self.model).work), limits.get("work", 2**62))
        return limits

    def changed(self, **changes: Any) -> Job:
        """The same job with other values of some fields and knobs.

        Args:
            changes: `compute`, `limit`, `propose`, and knobs of the search.

        Raises:
            ValueError: A knob is unknown or its value unfit.
        """
        compute, limit = changes.pop("compute", self.compute), changes.pop("limit", self.limit)
        knobs = checked_knobs(self.search, changes)
        propose = knobs.pop("propose", self.propose)
        return replace(self, knobs={**self.knobs, **knobs}, propose=propose, compute=compute, limit=limit or {})

    def with_budget(self) -> Job:
        """The same job, with the default budget where neither `compute` nor a knob bounds the search."""
        return replace(self, compute=budget(self.search, self.compute, self.knobs))


def budget(search: Search, compute: float | None, knobs: Mapping[str, Any]) -> float | None:
    """The budget that is given, or else the default; None where a knob bounds the search instead.

    Args:
        search: The algorithm, whose annotations say which knobs bound it.
        compute: The budget that was asked for, in multiples of one sample's cost, or None.
        knobs: The search's arguments by name.
    """
    return DEFAULT_COMPUTE if compute is None and not bounded(search, knobs) else compute
