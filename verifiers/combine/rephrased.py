"""A verifier whose prompts are rewritten first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from verifiers.adapt import as_verifier, ask
from verifiers.types import Media, Scores, Verifier


class Rephrased:
    """A verifier whose prompts are rewritten first, such as a picture verifier that cannot score words of motion.

    Args:
        judge: scores media with the rewritten prompts.
        words: from a prompt to the prompt that `judge` reads.
        name: the verifier's name; that of `judge` if empty.
    """

    def __init__(self, judge: Verifier, words: Callable[[str], str], *, name: str = "") -> None:
        self.judge, self.words = as_verifier(judge), words
        self.name = name or self.judge.name
        self.differentiable = self.judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media.

        Args:
            media: pictures or clips [b, ...].
            prompts: b prompts, before they are rewritten.
            progress: share of the samples that is generated, in (0, 1]; passed on.
        """
        scores = ask(self.judge, media, [self.words(prompt) for prompt in prompts], progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})
