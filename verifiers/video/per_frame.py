"""A picture verifier on single frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.batches import physical_batches
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

    A clip with a frame that cannot be scored is unscored. Pictures are scored as clips of one frame. Clips go through
    the physical batches of the picture verifier; of the others in a round, only their number can change the last bits
    of a score. By default it has the name of the picture verifier, so that a panel recognises both as one verifier.

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
        self.batch_size = getattr(self.judge, "batch_size", None)  # clips

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
        scores = frame_scores(self.judge, media[:, list(taken[self.which])], prompts, progress)
        total = torch.stack([row.mean() for row in scores]) if len(scores) else scores.new_empty(0)
        return Scores(total, {self.name: total.detach()})


def frame_scores(judge: Verifier, frames: Tensor, prompts: Sequence[str], progress: float) -> Tensor:
    """Return the scores [b, k] of frames, in calls that each fill one physical batch of the verifier.

    Which frames share a call depends on the size of the clip's physical batch and on nothing else about the round.

    Args:
        judge: a verifier of pictures; one without a `batch_size` is called once.
        frames: of each clip, [b, k, 3, h, w].
        prompts: b prompts.
        progress: passed on.

    Raises:
        ValueError: for another number of prompts.
    """
    if len(prompts) != len(frames):
        raise ValueError(f"{judge.name} got {len(frames)} clips and {len(prompts)} prompts; give one for each clip")

    def score(shown: Tensor, asked: Sequence[str]) -> Tensor:
        repeated = [prompt for prompt in asked for _ in range(shown.shape[1])]
        return ask(judge, shown.flatten(0, 1), repeated, progress=progress).total.view(shown.shape[:2])

    most, done = getattr(judge, "batch_size", None), []
    if not most:
        return score(frames, prompts)
    for rows in batches(len(frames), most):
        asked = [prompts[row] for row in rows]
        parts = batches(frames.shape[1], max(1, most // len(rows)))
        found = [score(frames[rows][:, columns], asked) for columns in parts]
        done.append(torch.cat(found, 1)[:, : frames.shape[1]])
    return torch.cat(done)[: len(frames)]


def batches(rows: int, most: int) -> list[Tensor]:
    """Return the rows of each physical batch, int64; the last row is repeated to fill one.

    Args:
        rows: how many there are, 1 or more.
        most: the largest batch, 1 or more.
    """
    return [torch.arange(rows)[batch] for batch in physical_batches(rows, most)]
