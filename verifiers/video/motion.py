"""How much a clip moves."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.types import Media, Scores


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
