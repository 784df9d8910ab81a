"""Several judges: a weighted sum to search with, a rank vote to choose with, and who may see what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from verifiers.types import Media, Scores, Verifier


@dataclass(frozen=True)
class Term:
    """One judge in a sum, worth weight * (score - shift) / scale: shift and scale bring judges to one scale."""

    verifier: Verifier
    weight: float = 1.0
    shift: float = 0.0
    scale: float = 1.0


class WeightedSum:
    """The sum of several judges on calibrated scales; a sample that one of them cannot score is unscored.

    `parts` holds each judge's own total under its name, and its parts as `name/part`. Differentiable if all are.
    """

    def __init__(self, *terms: Term, name: str = "sum") -> None:
        names = [term.verifier.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ValueError(f"a weighted sum needs one or more judges with different names, not {names}")
        if any(term.scale == 0 for term in terms):
            raise ValueError("a scale of 0 in a weighted sum; give the spread of that judge's scores")
        self.terms = terms
        self.name = name
        self.differentiable = all(term.verifier.differentiable for term in terms)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media [b, ...] with every judge."""
        worth: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        for term in self.terms:
            name = term.verifier.name
            scores = term.verifier(media, prompts, progress=progress)
            worth.append(term.weight * (scores.total - term.shift) / term.scale)
            parts |= {f"{name}/{part}": value for part, value in scores.parts.items() if part != name}
            parts[name] = scores.total.detach()
        return Scores(torch.stack(worth).sum(0), parts)


def rank_vote(parts: Mapping[str, Tensor]) -> Tensor:
    """Order a pool of candidates by their mean rank over several scores (scale-free, as in Ma et al. 2025).

    `parts` maps judges to [b] scores of the same pool. Returns [b] int64 candidate indices, best first. Equal scores
    share the average of their ranks, equal mean ranks keep the pool's order, and candidates that some judge could
    not score come last and leave the other ranks alone. Ranks mean nothing outside the pool: not a verifier.
    """
    scores = torch.stack([part.detach().double() for part in parts.values()])  # [judges, b]
    unscored = scores.isnan().any(0)
    scores = scores.masked_fill(unscored, torch.nan)  # compares false with everything
    mine, other = scores[:, :, None], scores[:, None, :]
    ranks = (other > mine).sum(-1) + (other == mine).sum(-1) / 2
    return ranks.mean(0).masked_fill(unscored, torch.inf).argsort(stable=True)


def judges(verifier: Verifier) -> Iterator[Verifier]:
    """A verifier and, if it is a sum, everything inside it."""
    yield verifier
    for term in getattr(verifier, "terms", ()):
        yield from judges(term.verifier)


@dataclass(frozen=True)
class Panel:
    """Who sees what: `guide` steers the search, `select` picks among finished candidates, hold-outs only report.

    `select` defaults to `guide`. A hold-out that also guides or selects would measure its own training signal, so
    sharing one raises ValueError.
    """

    guide: Verifier
    select: Verifier = None  # type: ignore[assignment]
    holdout: Mapping[str, Verifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "select", self.select or self.guide)
        seen = {id(judge) for chief in (self.guide, self.select) for judge in judges(chief)}
        for name, verifier in self.holdout.items():
            if any(id(judge) in seen for judge in judges(verifier)):
                raise ValueError(f"the hold-out {name!r} also guides or selects; hold out a judge that does neither")

    def pick(self, media: Media, prompts: Sequence[str]) -> int:
        """The row that `select` likes best, the first of equals; raises ValueError if it could score none."""
        total = self.select(media, prompts).total
        unscored = total.isnan()
        if bool(unscored.all()):
            raise ValueError(f"{self.select.name} could score none of {len(prompts)} candidates; look at the pictures")
        return int(total.masked_fill(unscored, -torch.inf).argmax())

    def report(self, media: Media, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What each hold-out thinks, name -> [b]."""
        return {name: verifier(media, prompts).total for name, verifier in self.holdout.items()}
