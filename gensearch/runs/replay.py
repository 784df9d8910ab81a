"""Replay: make a picture again from its own recipe and compare the bits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gensearch.core.limits import MAX_THREADS
from gensearch.files.compare import Changes, compare
from gensearch.files.images import decode, digest, to_pixels
from gensearch.runs.format import Provenance, plain, read_json, read_provenance

if TYPE_CHECKING:
    from gensearch.core.types import Model


@dataclass(frozen=True)
class Replay:
    """What came of a replay."""

    about: Provenance
    pixels: np.ndarray  # uint8 [t, h, w, 3], made again
    exact: bool  # whether these are the bits that the recipe promises
    untouched: bool  # whether the file still holds the pixels that its recipe promises
    difference: int | None  # the largest from the file, in steps of 1/255; None if the sizes differ
    differing: int | None  # how many pixels differ from the file in some channel; None if the sizes differ
    changed: Changes  # entries of the fingerprint: then, now

    @property
    def distance(self) -> str:
        """How far the picture is from the one in the file, in words."""
        if self.difference is None or self.differing is None:
            return "the sizes differ"
        percent = 100 * self.differing / (self.pixels.size // 3)
        share = f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"
        return f"largest difference {self.difference}/255 in {share} % of pixels"


def replay(source: Path, model: str | None = None) -> Replay:
    """Make a picture again from its recipe: at the same batch size and thread count.

    Args:
        source: The folder of a run, for its winner, or a PNG with a recipe inside.
        model: Where to find the model instead of what the recipe says; a PNG that asks for anything but a registered
            model needs it, since the file may come from anyone.

    Raises:
        ValueError: The source has no usable recipe, or asks for a model that nobody vouches for.
        LoadError: The model cannot be loaded.
    """
    about, there = read(source)
    if source.is_file() and model is None:
        refuse_unknown(about.config.model, source)
    with threads(about.fingerprint.get("threads")):
        generator = load(about, model or about.config.model)
        pixels = make(about, generator)
        now = plain(generator.fingerprint())
    difference = differing = None
    if pixels.shape == there.shape:
        apart = np.abs(pixels.astype(int) - there.astype(int)).max(-1)
        difference, differing = int(apart.max()), int(np.count_nonzero(apart))
    changed = compare(about.fingerprint, now)
    exact, untouched = digest(pixels) == about.pixels, digest(there) == about.pixels
    return Replay(about, pixels, exact, untouched, difference, differing, changed)


def read(source: Path) -> tuple[Provenance, np.ndarray]:
    """The recipe and the recorded pixels, uint8 [t, h, w, 3], of a run folder or a PNG file.

    Args:
        source: The folder of a run, for its winner, or a PNG with a recipe inside.

    Raises:
        ValueError: There is no such file, or no usable recipe.
    """
    if source.is_dir():
        result = read_json(source / "result.json")
        about = read_provenance(json.dumps(result.get("provenance")), str(source / "result.json"))
        return about, decode(source / "best.png")[0]
    if not source.exists():
        raise ValueError(f"{source} does not exist; give the folder of a run or one of its PNG files")
    pixels, text = decode(source)
    if "gensearch" not in text:
        raise ValueError(f"{source} carries no gensearch recipe; was it made by another tool, or with --no-metadata?")
    return read_provenance(text["gensearch"], str(source)), pixels


def refuse_unknown(name: str, source: Path) -> None:
    """Raise ValueError for a model that only the file vouches for."""
    from gensearch.registry import models

    if name not in models():
        raise ValueError(
            f"{source} asks for the model {name!r}, which is not one of `gensearch list models`. "
            f"If you trust it, add --model {name!r}"
        )


def load(about: Provenance, source: str) -> Model:
    """The recipe's model, with the largest physical batch that it had.

    Args:
        about: What a file says about its picture.
        source: Where the model is: a name, a folder or a repository.

    Raises:
        ValueError: There is no such name, or an option is unfit.
        LoadError: It cannot be loaded.
    """
    from gensearch.registry import load_model

    model = load_model(source, **about.config.options)
    if model.batch_size == about.batch_size:
        return model
    return load_model(source, **{**about.config.options, "batch_size": about.batch_size})


def make(about: Provenance, model: Model) -> np.ndarray:
    """The recipe's picture, as uint8 frames [t, h, w, 3].

    Args:
        about: What a file says about its picture.
        model: The generator.

    Raises:
        ValueError: The recipe holds moves that this version does not know.
    """
    import torch

    from gensearch.core.noise import remake
    from gensearch.core.sampling import again

    recipe = about.moves
    try:
        noise = remake(recipe, model.noise_shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"this version cannot follow the recipe: {error}") from None
    with torch.no_grad():
        made_in = tuple(about.sizes or [about.batch_size])
        return to_pixels(again(model, about.config.prompt, noise, recipe, made_in)[0])


@contextmanager
def threads(count: Any) -> Iterator[None]:
    """Give torch the recorded number of threads for a while, if it is a sensible one."""
    import torch

    before = torch.get_num_threads()
    if type(count) is int and 1 <= count <= MAX_THREADS:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
