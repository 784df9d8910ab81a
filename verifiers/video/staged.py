"""One verifier for each stage of a clip."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.adapt import as_verifier, ask
from verifiers.types import Media, Scores, Verifier


class Staged:
    """One verifier for the first chunk of a clip, one for the chunks in between, one for the finished clip.

    Pictures and clips are passed on as they are.

    Args:
        start: scores the first chunk: `progress` up to `first`.
        middle: scores `progress` between `first` and 1.
        end: scores finished clips: `progress` 1.
        first: where the first chunk ends, as a share of the clip in (0, 1).
        name: the verifier's name in logs and reports.

    Raises:
        ValueError: for `first` out of range.
    """

    def __init__(
        self, start: Verifier, middle: Verifier, end: Verifier, *, first: float = 0.2, name: str = "staged"
    ) -> None:
        if not 0 < first < 1:
            raise ValueError(f"the first chunk cannot end at {first} of a clip; give a share between 0 and 1")
        self.judges, self.first, self.name = tuple(map(as_verifier, (start, middle, end))), first, name
        self.differentiable = all(verifier.differentiable for verifier in self.judges)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media by the verifier of this stage.

        Args:
            media: pictures [b, 3, h, w] or clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: share of the clip that is generated, in (0, 1]; selects the stage.
        """
        verifier = self.judges[2 if progress >= 1 else 0 if progress <= self.first else 1]
        scores = ask(verifier, media, prompts, progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
