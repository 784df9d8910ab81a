"""A judge that is told the prompt in other words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from verifiers.types import Media, Scores, Verifier


class Rephrased:
    """A judge whose prompts go through `words` first, such as a judge of pictures that knows nothing of motion.

    It has the judge's own name unless it is given another.
    """

    def __init__(self, judge: Verifier, words: Callable[[str], str], *, name: str = "") -> None:
        self.judge, self.words = judge, words
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """What the judge says."""
        scores = self.judge(media, [self.words(prompt) for prompt in prompts], progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
