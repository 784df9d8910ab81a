"""Benchmarks that are judged exactly: GenEval-Shapes for pictures, and the moving Shapes for clips."""

from __future__ import annotations

from gensearch.evaluate.bench import Benchmark
from gensearch.shapes import clips, world
from gensearch.shapes.judge import ShapesJudge, ShapesPartial
from gensearch.shapes.tracker import ShapesTracker, ShapesTrackerPartial

SHAPES = Benchmark(
    name="shapes",
    lines=world.benchmark,
    judge=ShapesJudge,
    oracles=frozenset({ShapesJudge.name, ShapesPartial.name}),  # the partial score is 1 exactly where the verdict is
)
MOVING = Benchmark(
    name="moving",
    lines=clips.benchmark,
    judge=ShapesTracker,
    oracles=frozenset({ShapesTracker.name, ShapesTrackerPartial.name}),
)
