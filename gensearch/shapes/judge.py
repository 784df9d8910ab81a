"""GenEval's rules on the Shapes world as verifiers: prompts are parsed, pictures judged by the classical detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from verifiers.detect.geneval import Verdict, judge
from verifiers.types import Media, Scores


def grade(media: Media, prompts: Sequence[str], mark: Callable[[world.Spec, Verdict], float]) -> Scores:
    """Judge pictures [b, 3, h, w] in [0, 1] against prompts of the grammar and mark each verdict.

    A picture that is not finite gets NaN. Raises ValueError for a prompt outside the grammar.
    """
    detector = ShapesDetector()
    lines = [world.parse(prompt) for prompt in prompts]
    total = torch.full((len(media),), torch.nan)
    for i, (picture, line) in enumerate(zip(media.detach().cpu().float(), lines, strict=True)):
        if picture.isfinite().all():
            total[i] = mark(line, judge(pixels(picture), line, detector))
    return Scores(total.to(media.device))


def pixels(picture: Media) -> np.ndarray:
    """One picture [3, h, w] in [0, 1] as uint8 [h, w, 3]."""
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


class ShapesJudge:
    """The exact judge of the Shapes world: 1 if the picture shows what its prompt asks for, otherwise 0."""

    name = "shapes/judge"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Judge pictures [b, 3, h, w]; NaN if not finite, ValueError for a prompt outside the grammar."""
        return grade(media, prompts, lambda line, verdict: float(verdict.correct))


class ShapesPartial:
    """The share of a prompt's clauses that the picture fulfils, in [0, 1]; 1 exactly where `ShapesJudge` gives 1."""

    name = "shapes/partial"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Grade pictures [b, 3, h, w]; NaN if not finite, ValueError for a prompt outside the grammar."""
        return grade(media, prompts, fulfilled)


def fulfilled(line: world.Spec, verdict: Verdict) -> float:
    """The share of clauses, to include or to exclude, that gave no reason against the picture."""
    return 1 - len(verdict.reasons) / (len(line["include"]) + len(line.get("exclude", ())))
