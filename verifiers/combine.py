"""Several judges: a weighted sum to search with, a rank vote to choose with, and who may see what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

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


class RankVote(WeightedSum):
    """Judges that choose together, by mean rank over a pool; alone, a sample has the first one's score.

    Only to select with: ranks mean nothing outside the pool, so this can neither guide nor report.
    """

    def __init__(self, *judges: Verifier, name: str = "rank") -> None:
        """Take one or more judges with different names; a sample that one of them cannot score is unscored."""
        super().__init__(*(Term(judge, weight=float(place == 0)) for place, judge in enumerate(judges)), name=name)

    def winner(self, pool: Sequence[Mapping[str, float]]) -> int:
        """The place of the best candidate in a pool of their parts, the first of equals."""
        names = [term.verifier.name for term in self.terms]
        parts = {name: torch.tensor([parts[name] for parts in pool], dtype=torch.float64) for name in names}
        return int(rank_vote(parts)[0])


def rank_vote(parts: Mapping[str, Tensor]) -> Tensor:
    """Order a pool of candidates by their mean rank over several scores (scale-free, as in Ma et al. 2025).

    `parts` maps judges to [b] scores of the same pool. Returns [b] int64 candidate indices, best first. Equal scores
    share the average of their ranks, equal mean ranks keep the pool's order, and candidates that some judge could
    not score come last and leave the other ranks alone. Ranks mean nothing outside the pool: not a verifier.
    """
    scores = torch.stack([part.detach().double() for part in parts.values()])  # [judges, b]
    unscored = ~scores.isfinite().all(0)
    scores = scores.masked_fill(unscored, torch.nan)  # compares false with everything
    mine, other = scores[:, :, None], scores[:, None, :]
    ranks = (other > mine).sum(-1) + (other == mine).sum(-1) / 2
    return ranks.mean(0).masked_fill(unscored, torch.inf).argsort(stable=True)


def judges(verifier: Verifier) -> Iterator[Verifier]:
    """A verifier and everything inside it: the terms of a sum, and judges that another one asks."""
    yield verifier
    asked = (getattr(verifier, "judge", None), *getattr(verifier, "judges", ()))
    for inner in (*(term.verifier for term in getattr(verifier, "terms", ())), *asked):
        if inner is not None:
            yield from judges(inner)


def leaves(verifier: Verifier) -> list[Verifier]:
    """The single judges that a verifier consists of: those inside a sum, or itself."""
    inside = [leaf for term in getattr(verifier, "terms", ()) for leaf in leaves(term.verifier)]
    return inside or [verifier]


def with_leaves(verifier: Verifier, change: Callable[[Verifier], Verifier]) -> Verifier:
    """The same judge, or sum of judges, with `change` of each single judge in its place."""
    if not getattr(verifier, "terms", ()):
        return change(verifier)
    changed: Any = copy(verifier)
    changed.terms = tuple(replace(term, verifier=with_leaves(term.verifier, change)) for term in changed.terms)
    return cast(Verifier, changed)


def share(one: Verifier, other: Verifier) -> bool:
    """Whether two judges ask a judge in common: one of the same name, or with the same network."""
    ours, theirs = ([judge for leaf in leaves(x) for judge in judges(leaf)] for x in (one, other))
    return any(a.name == b.name or same_network(a, b) for a in ours for b in theirs)


def same_network(one: Verifier, other: Verifier) -> bool:
    """Whether two single judges ask networks with equal weights, whatever they are called and loaded from."""
    a, b = (getattr(judge, "model", None) for judge in (one, other))
    if not isinstance(a, nn.Module) or not isinstance(b, nn.Module):
        return False
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(equal(mine[name], theirs[name]) for name in mine)


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in the coarser of their dtypes, wherever they are."""
    if one.shape != other.shape or "meta" in (one.device.type, other.device.type):
        return False
    coarse = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return torch.equal(one.to("cpu", coarse), other.to("cpu", coarse))


def leaf_names(*verifiers: Verifier) -> set[str]:
    """Names of the single judges that some verifiers consist of: who has them has seen their opinion."""
    return {leaf.name for verifier in verifiers for leaf in leaves(verifier)}


@dataclass(frozen=True)
class Panel:
    """Who sees what: `guide` steers the search, `select` picks among finished candidates, hold-outs only report.

    `select` defaults to `guide`. A hold-out that also guides or selects would measure its own training signal, so
    sharing a single judge, also inside a sum, by another object of its name or by another name of its weights, raises
    ValueError. So does a rank vote in another role than `select`.
    """

    guide: Verifier
    select: Verifier = None  # type: ignore[assignment]
    holdout: Mapping[str, Verifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "select", self.select or self.guide)
        for name, verifier in self.holdout.items():
            if share(verifier, self.guide) or share(verifier, self.select):
                raise ValueError(
                    f"the hold-out {name!r} also guides or selects, by this name or by other weights of the same "
                    "values; hold out a judge that does neither"
                )
        for verifier in (self.guide, *self.holdout.values()):
            if isinstance(verifier, RankVote):
                raise ValueError(f"{verifier.name!r} can only select: ranks mean nothing outside a pool of candidates")

    def report(self, media: Media, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What each hold-out thinks, name -> [b]."""
        return {name: verifier(media, prompts).total for name, verifier in self.holdout.items()}


class Rephrased:
    """A judge whose prompts go through `words` first, such as a judge of pictures that knows nothing of motion.

    It has the judge's own name unless it is given another.
    """

    def __init__(self, judge: Verifier, words: Callable[[str], str], *, name: str = "") -> None:
        self.judge, self.words = judge, words
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """What the judge says."""
        scores = self.judge(media, [self.words(prompt) for prompt in prompts], progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
