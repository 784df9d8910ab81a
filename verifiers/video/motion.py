"""The amount of motion in a clip."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from verifiers.card import Card
from verifiers.types import Media, Scores
from verifiers.video.clips import clip_by_clip

CARD = Card(
    checkpoint="none",
    licence="none needed",
    input="clips",
    range="0 to 1, usually below 0.1; 0 for a still clip",
    price="all frames, no network",
    differentiable=True,
)


class Motion:
    """Mean absolute change of a pixel from frame to frame, in [0, 1]; 0 for a single frame.

    A cheap proxy for VBench's dynamic degree. Report it beside any verifier that guides: searches can reduce motion
    (ImagerySearch, arXiv:2510.14847). Differentiable. The score does not depend on the prompt.

    Args:
        name: the verifier's name in logs and reports.
    """

    differentiable = True

    def __init__(self, name: str = "motion") -> None:
        self.name = name

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts, which do not matter.
            progress: ignored.

        Raises:
            ValueError: for pictures, and for another number of prompts.
        """
        total = clip_by_clip(self.name, media, prompts, 1, lambda clip, _: change(clip)[None])[:, 0]
        return Scores(total, {self.name: total.detach()})


def change(clip: Tensor) -> Tensor:
    """Return the mean absolute change of a pixel from frame to frame; 0 for a single frame.

    Args:
        clip: frames [t, 3, h, w].
    """
    return clip.diff(dim=0).abs().mean() if len(clip) > 1 else clip.sum() * 0
