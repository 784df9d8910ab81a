"""The amount of motion in a clip."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.card import Card
from verifiers.types import Media, Scores

CARD = Card(checkpoint="none", licence="none needed", input="clips", range="0 to 1", differentiable=True)


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
            prompts: ignored.
            progress: ignored.

        Raises:
            ValueError: for pictures.
        """
        if media.ndim != 5:
            raise ValueError(f"{self.name} takes clips [b, t, 3, h, w], not {list(media.shape)}")
        if media.shape[1] == 1:
            total = media.flatten(1).sum(1) * 0
        else:
            total = media.float().diff(dim=1).abs().flatten(1).mean(1)
        return Scores(total, {self.name: total.detach()})
