"""GenEval-Shapes: the prompts of the Shapes world, judged exactly."""

from __future__ import annotations

from gensearch.evaluate.runner import Benchmark
from gensearch.shapes import world
from gensearch.shapes.judge import ShapesJudge, ShapesPartial

SHAPES = Benchmark(
    name="shapes",
    lines=world.benchmark,
    judge=ShapesJudge,
    oracles=frozenset({ShapesJudge.name, ShapesPartial.name}),  # the partial score is 1 exactly where the verdict is
)
