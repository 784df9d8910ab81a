"""The models in closed form by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gensearch.core.errors import nearest

if TYPE_CHECKING:
    from gensearch.core.types import Model

TOYS = {
    "toy/flow": "Gaussian pixels, exact in closed form; needs no weights",
    "toy/turbo": "the same in one step",
    "toy/mixture": "Gaussian blobs, one for each word it knows: red green blue star ring",
    "toy/chunks": "clips of chunks that are good with a known chance",
}


def toy(name: str, /, **options: Any) -> Model:
    """A model in closed form, of 16x16 pictures or of clips.

    Args:
        name: "toy/flow", "toy/turbo", "toy/mixture" or "toy/chunks".
        options: steps, batch_size, and of pictures guidance_scale and churn.

    Raises:
        ValueError: The name or an option is unknown.
    """
    from gensearch.models.toy.chunks import ToyChunks
    from gensearch.models.toy.gaussian import GaussianFlow, GaussianMixture, GaussianTurbo

    classes: dict[str, Callable[..., Model]] = {
        kind.name: kind for kind in (GaussianFlow, GaussianTurbo, GaussianMixture, ToyChunks)
    }
    if name not in classes:
        raise ValueError(f"no model is called {name!r}{nearest(name, classes)}")
    known = {"steps": "num_steps", "batch_size": "batch_size"}
    shape: tuple[Any, ...] = ()
    if name != ToyChunks.name:
        known, shape = {**known, "guidance_scale": "guidance", "churn": "churn"}, ((3, 16, 16),)
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}{nearest(option, known)}")
    return classes[name](*shape, **{known[option]: value for option, value in options.items()})
