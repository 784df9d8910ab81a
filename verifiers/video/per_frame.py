"""A verifier of pictures on the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from verifiers.types import Media, Scores, Verifier


class PerFrame:
    """A judge of pictures on clips [b, t, 3, h, w]: the mean score of their frames, or that of one of them.

    `which` is "all", "first" or "last". A clip with a frame that cannot be scored is unscored. Pictures are judged as
    they are. It has the judge's own name: who has seen its opinion of frames has seen its opinion.
    """

    def __init__(self, judge: Verifier, which: Literal["all", "first", "last"] = "all", *, name: str = "") -> None:
        """Raises ValueError for other frames than these."""
        if which not in ("all", "first", "last"):
            raise ValueError(f"which frames are {which!r}? Take 'all', 'first' or 'last'")
        self.judge, self.which = judge, which
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips or pictures, one prompt each."""
        if media.ndim == 4:
            media = media[:, None]
        frames = {"all": media, "first": media[:, :1], "last": media[:, -1:]}[self.which]
        told = [prompt for prompt in prompts for _ in range(frames.shape[1])]
        scores = self.judge(frames.flatten(0, 1), told, progress=progress)
        total = scores.total.view(len(media), -1).mean(1)
        return Scores(total, {self.name: total.detach()})
