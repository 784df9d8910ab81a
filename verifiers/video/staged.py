"""One verifier for each stage of a clip."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.types import Media, Scores, Verifier


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
