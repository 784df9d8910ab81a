"""Benchmarks with an exact judge: GenEval-Shapes for pictures, and the moving Shapes for clips."""

from __future__ import annotations

from gensearch.evaluate.bench import Benchmark
from gensearch.shapes import clips, world
from gensearch.shapes.judge import ShapesJudge, ShapesPartial
from gensearch.shapes.tracker import ShapesTracker, ShapesTrackerPartial

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
