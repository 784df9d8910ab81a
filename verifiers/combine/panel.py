"""The verifiers of a search by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.combine.inside import elects, judges, overlap
from verifiers.types import Media, Verifier


@dataclass(frozen=True)
class Panel:
    """The verifiers of a search by role.

    A hold-out that also guided or selected would report on the score that the search optimised. So a hold-out must not
    share a single verifier with the other roles: not inside a sum, not as another object of the same name, and not as
    another name of the same weights.

    Attributes:
        guide: steers the search.
        select: picks among finished candidates; the guide by default.
        holdout: name -> verifier that only reports on the result.

    Raises:
        ValueError: for a hold-out that also guides or selects, for an elector, such as a rank vote, in another role
            than `select`, and for an object that is no verifier.
    """

    guide: Verifier
    select: Verifier = None  # type: ignore[assignment]  # never None afterwards: __post_init__ puts the guide there
    holdout: Mapping[str, Verifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        same = self.select is None or self.select is self.guide
        object.__setattr__(self, "guide", as_verifier(self.guide))
        object.__setattr__(self, "select", self.guide if same else as_verifier(self.select))
        object.__setattr__(self, "holdout", {name: as_verifier(given) for name, given in self.holdout.items()})
        for name, verifier in self.holdout.items():
            if overlap(verifier, self.guide) or overlap(verifier, self.select):
                raise ValueError(
                    f"the hold-out {name!r} also guides or selects, by this name or by other weights of the same "
                    "values; hold out a verifier that does neither"
                )
        for verifier in (self.guide, *self.holdout.values()):
            if any(map(elects, judges(verifier))):
                raise ValueError(
                    f"{verifier.name!r} can only select: it elects among finished candidates, and gives a sample "
                    "without rivals no score of its own; guide with one of its verifiers"
                )

    def report(self, media: Media, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Return the scores of each hold-out, name -> [b].

        Args:
            media: finished pictures or clips [b, ...].
            prompts: b prompts.
        """
        return {name: ask(verifier, media, prompts).total for name, verifier in self.holdout.items()}
