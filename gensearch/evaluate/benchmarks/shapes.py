"""Benchmarks with an exact judge: GenEval-Shapes for pictures, and the moving Shapes for clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.judging import Judge
from gensearch.shapes import clips, world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import ShapesJudge, ShapesPartial
from gensearch.shapes.tracker import ShapesTracker, ShapesTrackerPartial
from verifiers.detect.examine import Examined, examine

SHAPES = Benchmark(
    name="shapes",
    lines=world.benchmark,
    judge=ShapesJudge,
    oracles=frozenset({ShapesJudge.name, ShapesPartial.name}),  # the partial score is 1 if and only if the verdict is 1
)
MOVING = Benchmark(
    name="moving",
    lines=clips.benchmark,
    judge=ShapesTracker,
    oracles=frozenset({ShapesTracker.name, ShapesTrackerPartial.name}),
)


def shapes_line(data: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The metadata line of a prompt of the Shapes world.

    Args:
        data: What a metadata file says.
        where: The file's folder, for the error message.

    Raises:
        ValueError: The prompt is outside the grammar.
    """
    try:
        return world.parse(data["prompt"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def shapes_examine(image: np.ndarray, line: Mapping[str, Any]) -> Examined:
    """What a picture shows of a metadata line, by the classical detector.

    Args:
        image: uint8 [h, w, 3], RGB.
        line: A metadata line.
    """
    return examine(image, line, ShapesDetector())


FOLDER_JUDGE = Judge("GenEval-Shapes", ShapesJudge.name, shapes_line, shapes_examine)
