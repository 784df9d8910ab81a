"""Several verifiers: weighted sums to search with, rank votes to select with, and panels that assign roles."""

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
    """One term weight * (score - shift) / scale of a weighted sum.

    Attributes:
        verifier: scores the samples.
        weight: any finite number.
        shift: a typical score of the verifier, so that terms are centred.
        scale: a typical spread of its scores, not 0, so that terms have one scale.
    """

    verifier: Verifier
    weight: float = 1.0
    shift: float = 0.0
    scale: float = 1.0


class WeightedSum:
    """The sum of several verifiers on calibrated scales.

    A sample that one of them cannot score is unscored. `Scores.parts` holds the total of each verifier under its name,
    and its parts as `name/part`. Differentiable if all verifiers are.

    Args:
        *terms: one or more, whose verifiers have different names.
        name: the name of the sum in logs and reports.

    Raises:
        ValueError: for no terms, for two verifiers of one name, and for a scale of 0.
    """

    def __init__(self, *terms: Term, name: str = "sum") -> None:
        names = [term.verifier.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ValueError(f"a weighted sum needs one or more verifiers with different names, not {names}")
        if any(term.scale == 0 for term in terms):
            raise ValueError("a scale of 0 in a weighted sum; give the spread of that verifier's scores")
        self.terms = terms
        self.name = name
        self.differentiable = all(term.verifier.differentiable for term in terms)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media with every verifier.

        Args:
            media: pictures or clips [b, ...].
            prompts: b prompts.
            progress: share of the samples that is generated, in (0, 1]; passed on.
        """
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
    """A selector that combines several verifiers by their mean rank over a pool of candidates.

    Ranks are defined only within a pool, so it can neither guide nor be a hold-out. Called on single samples it returns
    the score of the first verifier. A sample that one of the verifiers cannot score is unscored.

    Args:
        *verifiers: one or more with different names.
        name: the name of the vote in logs and reports.

    Raises:
        ValueError: for no verifiers, and for two of one name.
    """

    def __init__(self, *verifiers: Verifier, name: str = "rank") -> None:
        super().__init__(*(Term(voter, weight=float(place == 0)) for place, voter in enumerate(verifiers)), name=name)

    def winner(self, pool: Sequence[Mapping[str, float]]) -> int:
        """Return the index of the best candidate, the first of equals.

        Args:
            pool: `Scores.parts` of each candidate as numbers.
        """
        names = [term.verifier.name for term in self.terms]
        parts = {name: torch.tensor([parts[name] for parts in pool], dtype=torch.float64) for name in names}
        return int(rank_vote(parts)[0])


def rank_vote(parts: Mapping[str, Tensor]) -> Tensor:
    """Order a pool of candidates by their mean rank over several scores (Ma et al. 2025, arXiv:2501.09732).

    Equal scores share the average of their ranks, and equal mean ranks keep the order of the pool. Candidates that some
    verifier could not score come last and do not change the ranks of the others.

    Args:
        parts: verifier name -> scores [b] of the same pool.

    Returns:
        Candidate indices int64 [b], best first.
    """
    scores = torch.stack([part.detach().double() for part in parts.values()])  # [verifiers, b]
    unscored = ~scores.isfinite().all(0)
    scores = scores.masked_fill(unscored, torch.nan)  # compares false with everything
    mine, other = scores[:, :, None], scores[:, None, :]
    ranks = (other > mine).sum(-1) + (other == mine).sum(-1) / 2
    return ranks.mean(0).masked_fill(unscored, torch.inf).argsort(stable=True)


# --- verifiers inside verifiers


def judges(verifier: Verifier) -> Iterator[Verifier]:
    """Yield a verifier and every verifier inside it: the terms of sums, and the verifiers that others wrap.

    Args:
        verifier: any verifier; its optional members are listed in `verifiers.types.Verifier`.
    """
    yield verifier
    wrapped = (getattr(verifier, "judge", None), *getattr(verifier, "judges", ()))
    for inner in (*(term.verifier for term in getattr(verifier, "terms", ())), *wrapped):
        if inner is not None:
            yield from judges(inner)


def leaves(verifier: Verifier) -> list[Verifier]:
    """Return the single verifiers that a sum consists of, or the verifier itself.

    Args:
        verifier: any verifier; sums may be nested.
    """
    inside = [leaf for term in getattr(verifier, "terms", ()) for leaf in leaves(term.verifier)]
    return inside or [verifier]


def with_leaves(verifier: Verifier, change: Callable[[Verifier], Verifier]) -> Verifier:
    """Return a copy of a verifier or sum in which every single verifier is replaced.

    Args:
        verifier: any verifier; sums may be nested.
        change: called with each single verifier, returns its replacement.
    """
    if not getattr(verifier, "terms", ()):
        return change(verifier)
    changed: Any = copy(verifier)
    changed.terms = tuple(replace(term, verifier=with_leaves(term.verifier, change)) for term in changed.terms)
    return cast(Verifier, changed)


def leaf_names(*verifiers: Verifier) -> set[str]:
    """Return the names of the single verifiers that some verifiers consist of.

    Args:
        *verifiers: any number of verifiers and sums.
    """
    return {leaf.name for verifier in verifiers for leaf in leaves(verifier)}


def overlap(one: Verifier, other: Verifier) -> bool:
    """Return whether two verifiers use a common verifier, by name or by the weights of its network.

    Args:
        one: a verifier or sum.
        other: another one.
    """
    ours, theirs = ([inner for leaf in leaves(x) for inner in judges(leaf)] for x in (one, other))
    return any(a.name == b.name or same_network(a, b) for a in ours for b in theirs)


def same_network(one: Verifier, other: Verifier) -> bool:
    """Return whether two single verifiers have equal weights or one remote model, under any name and from any file.

    Args:
        one: a verifier, with its network as `model` or `endpoint` if it has one.
        other: another one.
    """
    if (place := getattr(one, "endpoint", None)) is not None and place == getattr(other, "endpoint", None):
        return True
    a, b = (getattr(verifier, "model", None) for verifier in (one, other))
    if not isinstance(a, nn.Module) or not isinstance(b, nn.Module):
        return False
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(equal(mine[name], theirs[name]) for name in mine)


def equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal in the less precise of their dtypes, on any device.

    Args:
        one: a tensor of any shape.
        other: another one.
    """
    if one.shape != other.shape or "meta" in (one.device.type, other.device.type):
        return False
    coarse = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return torch.equal(one.to("cpu", coarse), other.to("cpu", coarse))


# --- roles


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
        ValueError: for a hold-out that also guides or selects, and for a rank vote in another role than `select`.
    """

    guide: Verifier
    select: Verifier = None  # type: ignore[assignment]  # never None afterwards: __post_init__ puts the guide there
    holdout: Mapping[str, Verifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "select", self.select or self.guide)
        for name, verifier in self.holdout.items():
            if overlap(verifier, self.guide) or overlap(verifier, self.select):
                raise ValueError(
                    f"the hold-out {name!r} also guides or selects, by this name or by other weights of the same "
                    "values; hold out a verifier that does neither"
                )
        for verifier in (self.guide, *self.holdout.values()):
            if isinstance(verifier, RankVote):
                raise ValueError(f"{verifier.name!r} can only select: ranks mean nothing outside a pool of candidates")

    def report(self, media: Media, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Return the scores of each hold-out, name -> [b].

        Args:
            media: finished pictures or clips [b, ...].
            prompts: b prompts.
        """
        return {name: verifier(media, prompts).total for name, verifier in self.holdout.items()}


class Rephrased:
    """A verifier whose prompts are rewritten first, such as a picture verifier that cannot score words of motion.

    Args:
        judge: scores media with the rewritten prompts.
        words: from a prompt to the prompt that `judge` reads.
        name: the verifier's name; that of `judge` if empty.
    """

    def __init__(self, judge: Verifier, words: Callable[[str], str], *, name: str = "") -> None:
        self.judge, self.words = judge, words
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media.

        Args:
            media: pictures or clips [b, ...].
            prompts: b prompts, before they are rewritten.
            progress: share of the samples that is generated, in (0, 1]; passed on.
        """
        scores = self.judge(media, [self.words(prompt) for prompt in prompts], progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
