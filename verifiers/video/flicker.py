"""Temporal flickering: how little a clip changes from frame to frame."""

from __future__ import annotations

from torch import Tensor

from verifiers.card import Card
from verifiers.video.clips import PixelStatistic
from verifiers.video.motion import change

CARD = Card(
    checkpoint="none",
    licence="none needed",
    input="clips",
    range="0 to 1, usually above 0.9; 1 for a still clip",
    price="all frames, no network",
    differentiable=True,
)


class Flicker(PixelStatistic):
    """1 minus the mean absolute change of a pixel from frame to frame, in [0, 1]; 1 for a single frame.

    Temporal flickering of VBench (Huang et al. 2023, arXiv:2311.17982), whose prompts are of still scenes: 1 minus
    `motion`, so as a guide it rewards clips without motion. Differentiable. The score does not depend on the prompt.
    """

    named = "flicker"

    def measure(self, clip: Tensor) -> Tensor:
        """Return the score of one clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        return 1 - change(clip)
