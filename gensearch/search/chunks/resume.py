"""Keep the first chunks of a recorded clip, and let a search make the others anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gensearch.core.noise import remake, step_noise
from gensearch.core.types import Model
from gensearch.search.chunks.clips import Clips

Recorded = str | Sequence[Sequence[Any]]  # a recipe, or what SearchPipeline finds one in; "" for nothing


def resumed(model: Model, prompt: str, resume: Recorded, chunk: int) -> Clips | None:
    """The kept chunks of a recorded clip; None without one."""
    return kept_chunks(model, prompt, resume, chunk) if resume else None


@torch.no_grad()
def kept_chunks(model: Model, prompt: str, resume: Recorded, chunk: int) -> Clips:
    """The first `chunk` chunks of a recorded clip, made again from its recipe at their usual cost.

    Raises ValueError for a `chunk` that keeps nothing or everything, and for a `resume` that is not a recipe: only
    SearchPipeline reads runs and pictures.
    """
    if isinstance(resume, str):
        raise ValueError(f"resume is {resume!r}, which a search does not read; give a recipe, or use SearchPipeline")
    if not 1 <= chunk < model.num_steps:
        raise ValueError(
            f"chunk is {chunk}: say which of the chunks 1 to {model.num_steps - 1} is the first to be made anew"
        )
    recipe = tuple(tuple(move) for move in resume)
    state = model.start([prompt], remake(recipe, model.noise_shape))
    for step in range(1, chunk):
        state = model.advance(state, step_noise([recipe], step, model.noise_shape))
    return Clips(state, ((-chunk,),), (recipe,), (None,))  # a path that no other search has
