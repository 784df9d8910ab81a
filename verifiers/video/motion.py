"""The amount of motion in a clip."""

from __future__ import annotations

from torch import Tensor

from verifiers.card import Card
from verifiers.video.clips import PixelStatistic

CARD = Card(
    checkpoint="none",
    licence="none needed",
    input="clips",
    range="0 to 1, usually below 0.1; 0 for a still clip",
    price="all frames, no network",
    differentiable=True,
)


class Motion(PixelStatistic):
    """Mean absolute change of a pixel from frame to frame, in [0, 1]; 0 for a single frame.

    A cheap proxy for VBench's dynamic degree. Report it beside any verifier that guides: searches can reduce motion
    (ImagerySearch, arXiv:2510.14847). Differentiable. The score does not depend on the prompt.
    """

    named = "motion"

    def measure(self, clip: Tensor) -> Tensor:
        """Return the score of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        return change(clip)


def change(clip: Tensor) -> Tensor:
    """Return the mean absolute change of a pixel from frame to frame; 0 for a single frame.

    Args:
        clip: frames [t, 3, h, w].
    """
    return clip.diff(dim=0).abs().mean() if len(clip) > 1 else clip.sum() * 0
