"""Elections among the finished candidates of a search: the one shape of rank votes, cascades and tournaments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from verifiers.combine.sums import Term, WeightedSum
from verifiers.types import Media, Scores


class Pool(NamedTuple):
    """The finished candidates of a search, in the order in which they were finished.

    Attributes:
        prompt: of the search.
        media: n pictures [3, h, w] or clips [t, 3, h, w] in [0, 1].
        scores: of the elector's terms, or of the guide if it has none, float64 [n]; who has no finite one cannot win.
        parts: scores of single verifiers, name -> float64 [n], NaN for unscored.
    """

    prompt: str
    media: Sequence[Media]
    scores: Tensor
    parts: Mapping[str, Tensor]

    def shortlist(self, keep: int) -> list[int]:
        """Return the indices of the best candidates by score, best first, the first of equals; without the unscored.

        Args:
            keep: how many at most, 1 or more.
        """
        order = self.scores.nan_to_num(-torch.inf).argsort(descending=True, stable=True).tolist()
        return [index for index in order if self.scores[index].isfinite()][:keep]


class Elected(NamedTuple):
    """The outcome of an election.

    Attributes:
        winner: index of the winner; None if nobody can win.
        parts: what the election found, name -> float64 [n]; NaN for candidates without a verdict.
        about: facts for the record, name -> number.
    """

    winner: int | None
    parts: Mapping[str, Tensor] = MappingProxyType({})
    about: Mapping[str, float] = MappingProxyType({})


class Elector(WeightedSum):
    """A selector that elects among finished candidates; subclasses say how by `elect` and `calls`.

    The terms score each sample when it is finished, as in a weighted sum. Without terms the scores of the guide are
    taken. An election that calls `final` is held once, at the end of the search; others after each round.

    Args:
        *terms: score single samples; none for the guide's scores.
        final: a verifier, or a comparer of pairs, that is called on finalists only.
        keep: the most finalists, 1 or more.
        name: the name of the elector in logs and reports.

    Raises:
        ValueError: for a `keep` below 1, and as `WeightedSum`.
    """

    def __init__(self, *terms: Term, final: Any = None, keep: int = 1, name: str = "elector") -> None:
        if terms:
            super().__init__(*terms, name=name)
        else:
            self.terms, self.name, self.differentiable = (), name, False
        if keep != int(keep) or keep < 1:
            raise ValueError(f"{name!r} keeps {keep} finalists; give an integer of 1 or more, as in keep=4")
        self.final, self.keep = final, int(keep)

    @property
    def judges(self) -> tuple[Any, ...]:
        """The verifier that decides among finalists, so that it cannot be held out."""
        return () if self.final is None else (self.final,)

    @property
    def compares(self) -> bool:
        """Whether `final` is asked about ordered pairs."""
        return hasattr(self.final, "compare")

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media by the terms.

        Args:
            media: pictures or clips [b, ...].
            prompts: b prompts.
            progress: share of the samples that is generated, in (0, 1]; passed on.

        Raises:
            ValueError: without terms.
        """
        if not self.terms:
            raise ValueError(
                f"{self.name!r} elects among candidates that were scored by another verifier; select by it"
            )
        return super().__call__(media, prompts, progress=progress)

    def elect(self, pool: Pool) -> Elected:
        """Return the outcome of an election; the first of equals wins.

        Args:
            pool: one or more candidates.
        """
        raise NotImplementedError(f"{self.name} has no way to elect; write elect(pool)")

    def calls(self, finalists: int) -> int:
        """Return the calls of `final` in an election among finalists, counted in single scores or ordered pairs.

        Args:
            finalists: how many there are, 0 or more.
        """
        return 0


def first_best(scores: Tensor) -> int | None:
    """Return the index of the highest score, the first of equals; None if none is finite.

    Args:
        scores: [n].
    """
    finite = scores.isfinite()
    if not finite.any():
        return None
    return int((scores == scores[finite].max()).nonzero()[0])
