"""The recipe of a recorded clip, for a search that keeps its beginning."""

from __future__ import annotations

import json
from pathlib import Path

from gensearch.core.types import Model, Recipe
from gensearch.files.compare import MACHINE, compare
from gensearch.runs.replay import read


def recipe_of(model: Model, prompt: str, source: str) -> Recipe:
    """The recipe of a run's winner; raises ValueError if another prompt or model made it."""
    about, _ = read(Path(source))
    if about.config.prompt != prompt:
        raise ValueError(
            f"{source} shows {about.config.prompt!r} and the prompt is now {prompt!r}: its chunks cannot be kept. "
            "Give its own prompt, or leave out resume"
        )
    now = json.loads(json.dumps(model.fingerprint()))
    changed = [name for name in compare(about.fingerprint, now) if name.split(".")[0] not in MACHINE]
    if changed:
        raise ValueError(
            f"{source} was made by another model: {', '.join(changed)} differ. Load that one, or leave out resume"
        )
    return tuple(tuple(move) for move in about.recipe)
