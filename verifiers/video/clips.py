"""Judging clips: a judge of pictures on every frame or on several at once, one for each stage, how much clips move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

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


class Grid:
    """A judge of pictures on clips: `side` x `side` of their frames as one picture (IG-VLM, arXiv:2403.18406).

    In reading order, evenly spaced from the first frame to the last of `frames`, which a whole clip has. Those that a
    clip in progress [b, t, 3, h, w] does not have yet are grey, so that a speed looks the same at every length.
    """

    def __init__(self, judge: Verifier, frames: int, side: int = 2, *, name: str = "") -> None:
        """Raises ValueError for fewer frames than the picture has room for."""
        if not 1 <= side**2 <= frames:
            raise ValueError(f"{frames} frames do not fill {side} x {side}; take a smaller side, at least 1")
        self.judge, self.frames, self.side = judge, frames, side
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips, one prompt each; raises ValueError for pictures and for longer clips."""
        if media.ndim != 5 or media.shape[1] > self.frames:
            raise ValueError(
                f"{self.name} takes clips [b, t, 3, h, w] of up to {self.frames} frames, not {list(media.shape)}"
            )
        scores = self.judge(self.pictures(media), prompts, progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})

    def pictures(self, media: Media) -> Media:
        """What the judge is shown of clips [b, t, 3, h, w]: pictures [b, 3, side * h, side * w]."""
        times = torch.linspace(0, self.frames - 1, self.side**2).round().long()
        there = (times < media.shape[1]).expand(len(media), -1)
        shown = media[:, times.clamp(max=media.shape[1] - 1).to(media.device)]
        return grid(shown, there.to(media.device), self.side)


def grid(shown: Media, there: Tensor, side: int) -> Media:
    """Frames [b, side * side, 3, h, w] as pictures [b, 3, side * h, side * w], grey where `there` [b, n] is false."""
    kept = torch.where(there[:, :, None, None, None], shown, 0.5)
    rows = kept.unflatten(1, (side, side)).permute(0, 3, 1, 4, 2, 5)
    return rows.flatten(4, 5).flatten(2, 3)


class Motion:
    """How much a clip moves: the mean absolute change of a pixel from frame to frame, in [0, 1]; 0 for a single frame.

    A cheap stand-in for VBench's dynamic degree, to be reported beside any judge that guides: searches are known to
    trade motion away (ImagerySearch, arXiv:2510.14847). Differentiable; the prompt does not matter.
    """

    differentiable = True

    def __init__(self, name: str = "motion") -> None:
        self.name = name

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips [b, t, 3, h, w]; raises ValueError for pictures."""
        if media.ndim != 5:
            raise ValueError(f"{self.name} takes clips [b, t, 3, h, w], not {list(media.shape)}")
        if media.shape[1] == 1:
            total = media.flatten(1).sum(1) * 0
        else:
            total = media.float().diff(dim=1).abs().flatten(1).mean(1)
        return Scores(total, {self.name: total.detach()})


class Staged:
    """One judge for the first chunk of a clip, one for what lies between, one for its end.

    The end is `progress` 1, the first chunk `progress` up to `first`; pictures and clips go to the judges as they are.
    """

    def __init__(
        self, start: Verifier, middle: Verifier, end: Verifier, *, first: float = 0.2, name: str = "staged"
    ) -> None:
        """`first` in (0, 1) is where the first chunk ends, as a share of the clip; raises ValueError for others."""
        if not 0 < first < 1:
            raise ValueError(f"the first chunk cannot end at {first} of a clip; give a share between 0 and 1")
        self.judges, self.first, self.name = (start, middle, end), first, name
        self.differentiable = all(judge.differentiable for judge in self.judges)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """What the judge of this stage says."""
        judge = self.judges[2 if progress >= 1 else 0 if progress <= self.first else 1]
        scores = judge(media, prompts, progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
