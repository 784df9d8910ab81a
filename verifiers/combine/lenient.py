"""A verifier whose refusals are NaN, for a hold-out that nobody asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from verifiers.types import Media, Scores, Verifier


class Lenient:
    """A verifier that leaves unscored what it would refuse, such as a prompt that it cannot read.

    Args:
        judge: scores media, and raises ValueError for those that it refuses.
    """

    def __init__(self, judge: Verifier) -> None:
        self.judge = judge
        self.name = judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media; NaN for all of them if the verifier refuses.

        Args:
            media: pictures or clips [b, ...].
            prompts: b prompts.
            progress: share of the samples that is generated, in (0, 1]; passed on.
        """
        try:
            return self.judge(media, prompts, progress=progress)
        except ValueError:
            return Scores(torch.full((len(media),), torch.nan, device=media.device))
