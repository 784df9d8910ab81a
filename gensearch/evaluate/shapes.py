"""GenEval-Shapes: the prompts of the Shapes world, judged exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gensearch.evaluate.runner import Benchmark
from gensearch.shapes import world
from gensearch.shapes.judge import ShapesJudge
from gensearch.types import Model, Search
from verifiers.random import RandomScore
from verifiers.types import Media, Scores, Verifier


class Unguided:
    """The control that likes everything equally: a search under it spends its budget and learns nothing."""

    name = "unguided"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score every sample 0."""
        return Scores(torch.zeros(len(prompts), device=media.device))


CONTROLS = {"random": RandomScore, "unguided": Unguided}


def load_verifier(name: str) -> Verifier:
    """A control or a registered verifier."""
    if name in CONTROLS:
        return CONTROLS[name]()
    from gensearch import registry

    return registry.verifier(name)


def load_model(source: str, **options: Any) -> Model:
    """Any model that gensearch can load."""
    from gensearch.models.load import load

    return load(source, **options)


def find_search(name: str) -> Search:
    """A search by name; raises ValueError with the nearest name if there is none."""
    from gensearch.evaluate.plan import nearest
    from gensearch.search import SEARCHES

    if name not in SEARCHES:
        raise ValueError(f"no search is called {name!r}{nearest(name, list(SEARCHES))}")
    return SEARCHES[name]


SHAPES = Benchmark(
    name="shapes",
    lines=world.benchmark,
    judge=ShapesJudge,
    oracles=frozenset({"shapes/judge", "shapes/partial"}),  # the partial score is 1 exactly where the verdict is
    model=load_model,
    verifier=load_verifier,
    search=find_search,
)
