"""A verifier of pictures on several frames of a clip at once, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from verifiers.types import Media, Scores, Verifier


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
