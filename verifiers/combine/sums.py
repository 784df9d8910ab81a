"""Several verifiers as one: weighted sums, the least of several scores, and vetoes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.types import Media, Scores, Verifier


@dataclass(frozen=True)
class Term:
    """One term weight * (score - shift) / scale of a weighted sum.

    Attributes:
        verifier: scores the samples; a function or another object that scores will do.
        weight: any finite number.
        shift: a typical score of the verifier, so that terms are centred.
        scale: a typical spread of its scores, not 0, so that terms have one scale.
    """

    verifier: Verifier
    weight: float = 1.0
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifier", as_verifier(self.verifier))


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
            raise ValueError(f"{name!r} needs one or more verifiers with different names, not {names}")
        if any(term.scale == 0 for term in terms):
            raise ValueError(f"a scale of 0 in {name!r}; give the spread of that verifier's scores")
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
            scores = ask(term.verifier, media, prompts, progress=progress)
            worth.append(term.weight * (scores.total - term.shift) / term.scale)
            parts |= {f"{name}/{part}": value for part, value in scores.parts.items() if part != name}
            parts[name] = scores.total.detach()
        return Scores(self.joined(torch.stack(worth)), parts)

    def joined(self, worth: Tensor) -> Tensor:
        """Return one score for each sample.

        Args:
            worth: of each term and sample, [terms, b].
        """
        return worth.sum(0)


class Least(WeightedSum):
    """The least of several scores on calibrated scales: a sample is as good as its worst side.

    Worst-case optimisation over an ensemble of rewards (Coste et al. 2023, arXiv:2310.02743). A sample that one of the
    verifiers cannot score is unscored. Its arguments are those of `WeightedSum`.
    """

    def joined(self, worth: Tensor) -> Tensor:
        """Return the least worth of each sample; NaN if one is NaN.

        Args:
            worth: of each term and sample, [terms, b].
        """
        return worth.amin(0)


class Veto(WeightedSum):
    """The score of one verifier, and -inf where another one vetoes, so that such a sample can never win.

    Source: a control, without a paper. A sample that one of the verifiers cannot score is unscored. Only the scoring
    verifier has gradients. A search goes on when every sample of a round is vetoed, and fails at its end if none
    passed.

    Args:
        scored: gives the score.
        *vetoes: (verifier, ">=" or "<=", threshold): what its score must be.
        name: the name in logs and reports.

    Raises:
        ValueError: for no veto, another sign, a threshold that is NaN, and two verifiers of one name.
    """

    def __init__(self, scored: Verifier, *vetoes: tuple[Verifier, str, float], name: str = "veto") -> None:
        super().__init__(Term(scored), *(Term(verifier) for verifier, _, _ in vetoes), name=name)
        for term, (_, sign, threshold) in zip(self.terms[1:], vetoes, strict=True):
            if sign not in (">=", "<=") or threshold != threshold:
                raise ValueError(
                    f"{term.verifier.name!r} {sign} {threshold} is no condition; give '>=' or '<=' and a number"
                )
        if not vetoes:
            raise ValueError(f"{name!r} has no veto; give one as (verifier, '>=', 0.5)")
        self.bounds = tuple((sign, threshold) for _, sign, threshold in vetoes)
        self.differentiable = self.terms[0].verifier.differentiable

    def joined(self, worth: Tensor) -> Tensor:
        """Return the first worth of each sample, -inf where one of the others is out of bounds, NaN where one is NaN.

        Args:
            worth: of each term and sample, [terms, b].
        """
        score, others = worth[0], worth[1:].detach()
        limits = others.new_tensor([threshold for _, threshold in self.bounds])[:, None]
        at_least = torch.tensor([sign == ">=" for sign, _ in self.bounds], device=worth.device)[:, None]
        passed = torch.where(at_least, others >= limits, others <= limits).all(0)
        return torch.where(passed, score, -torch.inf).masked_fill(worth.isnan().any(0), torch.nan)
