"""The recipe of a recorded clip, for a search that keeps its beginning."""

from __future__ import annotations

from pathlib import Path

from gensearch.core.noise import prompt_of
from gensearch.core.types import Model, Recipe
from gensearch.files.compare import by_machine, compare
from gensearch.runs.format import plain
from gensearch.runs.replay import read


def recipe_of(model: Model, prompt: str, source: str) -> Recipe:
    """The recipe of a run's winner.

    Args:
        model: The generator that is to go on from it.
        prompt: What the clip should show.
        source: The folder of a run, or a PNG with a recipe inside.

    Raises:
        ValueError: Another prompt or model made it, or there is no recipe.
    """
    about, _ = read(Path(source))
    if (shown := prompt_of(about.moves, about.config.prompt)) != prompt:
        raise ValueError(
            f"{source} shows {shown!r} and the prompt is now {prompt!r}: its chunks cannot be kept. "
            "Give its own prompt, or leave out resume"
        )
    _, changed = by_machine(compare(about.fingerprint, plain(model.fingerprint())))
    if changed:
        raise ValueError(
            f"{source} was made by another model: {', '.join(changed)} differ. Load that one, or leave out resume"
        )
    return about.moves
