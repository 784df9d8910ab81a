"""Everything that has a name: models, verifiers, searches. Nothing heavy is loaded before it is asked for."""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gensearch.shapes import verifiers as shapes
from verifiers.catalogue import VERIFIERS, check_licences, describe, verifier
from verifiers.names import parse, split_weight

if TYPE_CHECKING:
    from gensearch.core.types import Model, Proposal, Search

__all__ = [
    "VERIFIERS",
    "check_licences",
    "describe",
    "load_model",
    "models",
    "parse_verifier",
    "proposal",
    "search",
    "verifier",
]

VERIFIERS |= shapes.VERIFIERS


def parse_verifier(name: str) -> list[tuple[str, float]]:
    """The single names and weights that a verifier's name is made of; loads nothing.

    Args:
        name: Such as `shapes/clip+0.5*random`, or `rank(a,b)`.

    Raises:
        ValueError: It is no such name, or names a verifier that does not exist; with the nearest that does.
    """
    return parse(name, VERIFIERS)


def search(name: str) -> Search:
    """A search by name.

    Args:
        name: As `gensearch list searches` has it.

    Raises:
        ValueError: There is none; with the nearest name.
    """
    from gensearch.search import find

    return find(name)


def proposal(name: str, model: Model) -> Proposal:
    """The proposal of a noise hypernetwork for a model.

    Installed packages offer loaders, called as (source, model, gain, passes), as entry points of the group PROPOSALS.

    Args:
        name: `shapes/NAME`, a folder or a repository; `GAIN*NAME` with a finite gain; `NAME^2` to apply it twice.
        model: The generator.

    Raises:
        ValueError: The gain is no finite number, the number of passes no integer from 1 to 8, or as the loader does.
    """
    gain, rest = split_weight(name)
    source, power, passes = rest.rpartition("^") if "^" in rest else (rest, "", "1")
    if power and passes not in [*"12345678"]:
        raise ValueError(f"{passes!r} is no number of passes; write 1 to 8 of them, as in 'shapes/hypernoise^2'")
    try:
        factor = float(gain or 1)
    except ValueError:
        raise ValueError(f"{gain!r} is no gain; write a hypernetwork as '0.5*shapes/hypernoise'") from None
    if not math.isfinite(factor):
        raise ValueError(f"the gain of {source!r} is {gain}; give a finite one, as in '0.5*shapes/hypernoise'")
    (loader,) = entry_points(group=PROPOSALS, name="hypernetwork")
    found: Proposal = loader.load()(source, model, factor, int(passes))
    return found


PROPOSALS = "gensearch.proposals"


def models() -> dict[str, str]:
    """The models that are known by name, and what they are: embedded, in closed form, or settings for the hub."""
    from gensearch.models.names import embedded, presets
    from gensearch.models.toy.names import TOYS

    hub = {name: f"on the hub, licence {preset.licence}" for name, preset in presets().items()}
    return {**dict.fromkeys(embedded(), "embedded"), **TOYS, **hub}


def load_model(source: Any, /, **options: Any) -> Model:
    """A model by name or path, or around a loaded pipeline.

    Args:
        source: A name of `models`, a folder, a repository or a pipeline.
        options: How to load it: steps, guidance_scale, batch_size, device, dtype ...

    Raises:
        LoadError: It cannot be loaded.
        ValueError: There is no such name, or an option is unknown or unfit.
    """
    if isinstance(source, str) and source.startswith("toy/"):
        from gensearch.models.toy.names import toy

        return toy(source, **options)
    from gensearch.models.load import load

    return load(source, **options)
