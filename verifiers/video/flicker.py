"""Temporal flickering: how little a clip changes from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.card import Card
from verifiers.types import Media, Scores
from verifiers.video.clips import clip_by_clip
from verifiers.video.motion import change

CARD = Card(
    checkpoint="none",
    licence="none needed",
    input="clips",
    range="0 to 1, usually above 0.9; 1 for a still clip",
    price="all frames, no network",
    differentiable=True,
)


class Flicker:
    """1 minus the mean absolute change of a pixel from frame to frame, in [0, 1]; 1 for a single frame.

    Temporal flickering of VBench (Huang et al. 2023, arXiv:2311.17982), whose prompts are of still scenes: 1 minus
    `motion`, so as a guide it rewards clips without motion. Differentiable. The score does not depend on the prompt.

    Args:
        name: the verifier's name in logs and reports.
    """

    differentiable = True

    def __init__(self, name: str = "flicker") -> None:
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
        total = clip_by_clip(self.name, media, prompts, 1, lambda clip, _: 1 - change(clip)[None])[:, 0]
        return Scores(total, {self.name: total.detach()})
