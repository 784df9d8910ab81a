"""Comparisons of pairs: what a comparer is, and verdicts from both orders and several samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.types import Media, Verifier

Ask = Callable[[Sequence[int], Sequence[int]], Tensor]  # candidates shown first and second -> P(first is better)


@runtime_checkable
class Comparer(Protocol):
    """A model that says which of two pictures shows a prompt better.

    It may have a `batch_size`, a `model` and `judge` or `judges`, as a verifier.
    """

    @property
    def name(self) -> str:
        """Identifies the comparer in logs and reports."""

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> Tensor:
        """Return the probability that the first picture of each pair is better, [b] in [0, 1]; NaN for no verdict.

        Args:
            media_a: pictures [b, 3, h, w] in [0, 1], shown first.
            media_b: pictures [b, 3, h, w] in [0, 1], shown second.
            prompts: one for each pair, b of them.
        """
        ...


class ByScores:
    """Any verifier as a comparer, through its scores.

    Args:
        verifier: scores each picture of a pair.
        scale: 0 for the sign of the difference, where equal scores give 0.5; above 0 for its logistic function, in
            which a difference of `scale` gives 0.73.

    Raises:
        ValueError: for a scale below 0.
    """

    def __init__(self, verifier: Verifier, *, scale: float = 0.0) -> None:
        self.judge, self.scale = as_verifier(verifier), scale
        self.name = self.judge.name
        if not scale >= 0:
            raise ValueError(f"the scale of comparisons by {self.name!r} is {scale}; give 0, or a spread of scores")

    @torch.no_grad()
    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> Tensor:
        """Return the probability that the first picture of each pair is better, [b]; NaN where a score is not finite.

        Args:
            media_a: pictures or clips [b, ...] in [0, 1].
            media_b: pictures or clips [b, ...] in [0, 1].
            prompts: one for each pair, b of them.
        """
        a, b = (ask(self.judge, media, prompts).total for media in (media_a, media_b))
        return preference(a, b, self.scale)


def preference(a: Tensor, b: Tensor, scale: float = 0.0) -> Tensor:
    """Return P(a is better) from two scores; NaN where one is not finite.

    Args:
        a: scores [n].
        b: scores [n].
        scale: 0 for the sign of the difference, or the scale of a logistic function.
    """
    difference = a - b
    found = (difference / scale).sigmoid() if scale else (difference.sign() + 1) / 2
    return found.masked_fill(~(a.isfinite() & b.isfinite()), torch.nan)


class Referee:
    """Decides bouts between candidates: both orders, several samples, and explicit ties.

    The verdict is the mean of the two orders, so that a comparer that prefers a place gives a tie. Large models do
    prefer places (Zheng et al. 2023, arXiv:2306.05685).

    Args:
        ask: from candidates shown first and second to P(first is better) [b].
        samples: questions for each order, 1 or more, in one call.
        vote: "mean" of the samples, or "majority" of those above 0.5; an even split is a tie.
        tie: a verdict at most so far from 0.5 is a tie, in [0, 0.5).

    Attributes:
        bouts: how many were held.
        ties: how many ended in a tie.
        flips: in how many the two orders preferred different candidates.
        missing: in how many there was no verdict, for lack of an answer in one of the orders.
        bias: sum of |P(a before b) + P(b before a) - 1| over bouts with a verdict.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self, ask: Ask, *, samples: int = 1, vote: str = "mean", tie: float = 0.0) -> None:
        if samples != int(samples) or samples < 1 or vote not in ("mean", "majority") or not 0 <= tie < 0.5:
            raise ValueError(
                f"samples {samples}, vote {vote!r}, tie {tie}: give 1 or more samples, 'mean' or 'majority', "
                "and a tie band from 0 to below 0.5"
            )
        self.ask, self.samples, self.vote, self.tie = ask, int(samples), vote, tie
        self.bouts = self.ties = self.flips = self.missing = 0
        self.bias = 0.0

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """Return the share of each bout that its first candidate wins: 0.5 for a tie, NaN for no verdict.

        Args:
            pairs: candidates that meet.

        Raises:
            ValueError: for an answer outside [0, 1].
        """
        if not pairs:
            return []
        ordered = [order for pair in pairs for order in (pair, pair[::-1])]
        first, second = zip(*(pair for pair in ordered for _ in range(self.samples)), strict=True)
        answers = self.ask(first, second).detach().double().cpu()
        if len(answers) != len(first) or bool(((answers < 0) | (answers > 1)).any()):
            raise ValueError(f"a comparer answered {answers.tolist()}; give {len(first)} probabilities, NaN for none")
        ahead, behind = self.counted(answers.view(-1, self.samples)).view(-1, 2).unbind(1)
        verdicts = 0.5 + (ahead - behind) / 2  # exactly 0.5 for equal answers
        none = verdicts.isnan()
        tied = (verdicts - 0.5).abs() <= self.tie
        self.bouts += len(pairs)
        self.missing += int(none.sum())
        self.ties += int(tied.sum())
        self.flips += int(((ahead - 0.5) * (0.5 - behind) < 0).sum())
        self.bias += float((ahead + behind - 1).abs()[~none].sum())
        return list(map(float, verdicts.masked_fill(tied, 0.5)))

    def counted(self, answers: Tensor) -> Tensor:
        """Return one answer for each order: the mean or the majority of its samples, NaN if none was answered.

        Args:
            answers: [orders, samples], NaN for unanswered.
        """
        if self.vote == "mean":
            return answers.nanmean(1)
        votes = ((answers > 0.5).double() + (answers == 0.5).double() / 2).masked_fill(answers.isnan(), torch.nan)
        return preference(votes.nanmean(1), torch.tensor(0.5, dtype=torch.float64))
