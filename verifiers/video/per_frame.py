"""A picture verifier on single frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from verifiers.adapt import as_verifier, ask
from verifiers.card import Card
from verifiers.types import Media, Scores, Verifier

CARD = Card(
    checkpoint="that of the picture verifier",
    licence="that of the picture verifier",
    input="pictures and clips",
    range="that of the picture verifier",
    price="1 score of the picture verifier for each frame",
)


class PerFrame:
    """The score of a clip as the mean score of its frames, or as the score of some of them.

    A clip with a frame that cannot be scored is unscored. Pictures are scored as clips of one frame. By default it has
    the name of the picture verifier, so that a panel recognises both as one verifier.

    Args:
        judge: a verifier of pictures.
        which: the frames that are scored; "spread" are the first, the middle and the last one.
        name: the verifier's name; that of the picture verifier if empty.

    Raises:
        ValueError: for other values of `which`.
    """

    def __init__(
        self, judge: Verifier, which: Literal["all", "first", "last", "spread"] = "all", *, name: str = ""
    ) -> None:
        if which not in ("all", "first", "last", "spread"):
            raise ValueError(f"which frames are {which!r}? Take 'all', 'first', 'last' or 'spread'")
        self.judge, self.which = as_verifier(judge), which
        self.name = name or self.judge.name
        self.differentiable = self.judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips or pictures.

        Args:
            media: clips [b, t, 3, h, w] or pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts; each frame is scored with the prompt of its clip.
            progress: passed on.
        """
        if media.ndim == 4:
            media = media[:, None]
        last = media.shape[1] - 1
        taken = {"all": range(last + 1), "first": [0], "last": [last], "spread": sorted({0, last // 2, last})}
        frames = media[:, list(taken[self.which])]
        repeated = [prompt for prompt in prompts for _ in range(frames.shape[1])]
        scores = ask(self.judge, frames.flatten(0, 1), repeated, progress=progress)
        total = scores.total.view(len(media), -1).mean(1)
        return Scores(total, {self.name: total.detach()})
