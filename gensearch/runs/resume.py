"""Regenerate from here: keep the first chunks of a recorded clip, and let a search make the rest anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gensearch.search.chunks.clips import Clips
from gensearch.core.noise import remake, step_noise
from gensearch.core.types import Model, Recipe

Recorded = str | Sequence[Sequence[Any]]  # a run folder, one of its pictures, or a recipe; "" for nothing


@torch.no_grad()
def kept_chunks(model: Model, prompt: str, resume: Recorded, chunk: int) -> Clips:
    """The first `chunk` chunks of a recorded clip, made again from its recipe at their usual cost.

    Nothing of it is kept that could have changed: raises ValueError if prompt or model are not those of the record, and
    for a `chunk` that keeps nothing or everything.
    """
    if not 1 <= chunk < model.num_steps:
        raise ValueError(
            f"chunk is {chunk}: say which of the chunks 1 to {model.num_steps - 1} is the first to be made anew"
        )
    recipe = recorded(model, prompt, resume) if isinstance(resume, str) else tuple(tuple(move) for move in resume)
    state = model.start([prompt], remake(recipe, model.noise_shape))
    for step in range(1, chunk):
        state = model.advance(state, step_noise([recipe], step, model.noise_shape))
    return Clips(state, ((-chunk,),), (recipe,), (None,))  # a path that no other search has


def recorded(model: Model, prompt: str, source: str) -> Recipe:
    """The recipe of a run's winner; raises ValueError if another prompt or model made it."""
    from gensearch.files.compare import MACHINE, compare
    from gensearch.runs.replay import read

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
