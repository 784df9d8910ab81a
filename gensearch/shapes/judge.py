"""The exact judge of the Shapes world: GenEval's rules on parsed prompts and classical detections, as verifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from verifiers.batches import require_pictures
from verifiers.detect.geneval import Verdict, evaluate
from verifiers.types import Media, Scores


def grade(media: Media, prompts: Sequence[str], mark: Callable[[world.Spec, Verdict], float]) -> Scores:
    """Score pictures by a function of the verdict.

    Args:
        media: pictures [b, 3, h, w] in [0, 1]; NaN for those that are not finite.
        prompts: b prompts of the Shapes world.
        mark: from a metadata line and a verdict to a score.

    Raises:
        ValueError: for a prompt outside the grammar, and for media that are no pictures with one prompt each.
    """
    require_pictures("the exact judge", media, prompts)
    detector = ShapesDetector()
    lines = [world.parse(prompt) for prompt in prompts]
    total = torch.full((len(media),), torch.nan)
    for i, (picture, line) in enumerate(zip(media.detach().cpu().float(), lines, strict=True)):
        if picture.isfinite().all():
            total[i] = mark(line, evaluate(pixels(picture), line, detector))
    return Scores(total.to(media.device))


def pixels(picture: Media) -> np.ndarray:
    """Return one picture as uint8 [h, w, 3].

    Args:
        picture: [3, h, w] in [0, 1].
    """
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


class ShapesJudge:
    """The exact judge of the Shapes world: 1 if the picture shows what its prompt asks for, otherwise 0.

    The rules are GenEval's (Ghosh et al. 2023, arXiv:2310.11513). A picture that is not finite scores NaN.
    """

    name = "shapes/judge"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Judge pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts of the Shapes world.
            progress: ignored.

        Raises:
            ValueError: for a prompt outside the grammar.
        """
        return grade(media, prompts, lambda line, verdict: float(verdict.correct))


class ShapesPartial:
    """The share of clauses that the picture fulfils, in [0, 1]; 1 if and only if `ShapesJudge` scores 1."""

    name = "shapes/partial"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts of the Shapes world.
            progress: ignored.

        Raises:
            ValueError: for a prompt outside the grammar.
        """
        return grade(media, prompts, fulfilled)


def fulfilled(line: world.Spec, verdict: Verdict) -> float:
    """Return the share of clauses, to include or to exclude, that the picture fulfils.

    Args:
        line: the metadata line of the prompt.
        verdict: on the picture.
    """
    return 1 - len(verdict.reasons) / (len(line["include"]) + len(line.get("exclude", ())))
