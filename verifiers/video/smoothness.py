"""Motion smoothness: how well every second frame is the mean of its neighbours."""

from __future__ import annotations

from torch import Tensor

from verifiers.card import Card
from verifiers.video.clips import PixelStatistic

CARD = Card(
    checkpoint="none",
    licence="none needed",
    input="clips",
    range="0 to 1, usually above 0.9; 1 for a still clip",
    price="all frames, no network",
    differentiable=True,
)


class Smoothness(PixelStatistic):
    """1 minus the mean absolute difference of every second frame from the mean of its neighbours, in [0, 1].

    Motion smoothness of VBench (Huang et al. 2023, arXiv:2311.17982) with linear interpolation in place of its network
    AMT-S: a cheap proxy, lower for fast motion also where that is smooth. 1 for less than three frames.
    Differentiable. The score does not depend on the prompt.
    """

    named = "smoothness"

    def measure(self, clip: Tensor) -> Tensor:
        """Return the score of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        return smoothness(clip)


def smoothness(clip: Tensor) -> Tensor:
    """Return the score of one clip.

    Args:
        clip: frames [t, 3, h, w] in [0, 1].
    """
    kept = clip[::2]
    if len(kept) < 2:
        return clip.sum() * 0 + 1
    between = (kept[:-1] + kept[1:]) / 2
    return 1 - (clip[1::2][: len(between)] - between).abs().mean()
