"""A picture verifier on several frames of a clip, tiled into one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.card import Card
from verifiers.types import Media, Scores, Verifier

CARD = Card(
    checkpoint="that of the picture verifier",
    licence="that of the picture verifier",
    input="clips",
    range="that of the picture verifier",
    price="1 score of the picture verifier for each clip; 4 of its frames",
)


class Grid:
    """The score of a clip as the score of one picture, tiled from `side` x `side` of its frames.

    The image grid of IG-VLM (arXiv:2403.18406). Frames are in reading order, evenly spaced from the first to the last
    of a whole clip. Frames that a clip in progress does not have yet are grey, so that the spacing in time is the same
    at every length. Without a length, the frames are spread over every clip as it is, and repeated in one that is
    shorter than the grid.

    Args:
        judge: a verifier of pictures.
        frames: number of frames of a whole clip, at least side * side; None if every clip counts as whole.
        side: frames along one side of the picture, at least 1.
        name: the verifier's name; that of the picture verifier if empty.

    Raises:
        ValueError: if `frames` do not fill the grid.
    """

    def __init__(self, judge: Verifier, frames: int | None = None, side: int = 2, *, name: str = "") -> None:
        if side < 1 or (frames is not None and frames < side**2):
            raise ValueError(f"{frames} frames do not fill {side} x {side}; take a smaller side, at least 1")
        self.judge, self.frames, self.side = as_verifier(judge), frames, side
        self.name = name or self.judge.name
        self.differentiable = self.judge.differentiable
        self.batch_size = getattr(self.judge, "batch_size", None)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1], t up to `frames` where that is given.
            prompts: b prompts.
            progress: passed on.

        Raises:
            ValueError: for pictures and for longer clips.
        """
        if media.ndim != 5 or media.shape[1] > (self.frames or media.shape[1]):
            length = f" of up to {self.frames} frames" if self.frames else ""
            raise ValueError(f"{self.name} takes clips [b, t, 3, h, w]{length}, not {list(media.shape)}")
        scores = ask(self.judge, self.pictures(media), prompts, progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})

    def pictures(self, media: Media) -> Media:
        """Return the pictures [b, 3, side * h, side * w] that the picture verifier scores.

        Args:
            media: clips [b, t, 3, h, w].
        """
        times = torch.linspace(0, (self.frames or media.shape[1]) - 1, self.side**2).round().long()
        there = (times < media.shape[1]).expand(len(media), -1)
        shown = media[:, times.clamp(max=media.shape[1] - 1).to(media.device)]
        return grid(shown, there.to(media.device), self.side)


def grid(shown: Media, there: Tensor, side: int) -> Media:
    """Tile frames into pictures [b, 3, side * h, side * w].

    Args:
        shown: frames [b, side * side, 3, h, w].
        there: bool [b, side * side]; frames where it is false become grey.
        side: frames along one side of the picture.
    """
    kept = torch.where(there[:, :, None, None, None], shown, 0.5)
    batch, _, channels, height, width = kept.shape
    tiles = kept.reshape(batch, side, side, channels, height, width)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, side * height, side * width)
