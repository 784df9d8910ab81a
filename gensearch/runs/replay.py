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
from gensearch.files.compare import compare
from gensearch.files.images import decode, digest, to_pixels
from gensearch.runs.format import Provenance, read_json, read_provenance

if TYPE_CHECKING:
    from gensearch.core.types import Model


@dataclass(frozen=True)
class Replay:
    """What came of a replay."""

    about: Provenance
    pixels: np.ndarray  # uint8 [t, h, w, 3], made again
    exact: bool  # the bits that the recipe promises
    untouched: bool  # the file still holds the pixels that its recipe promises
    difference: int | None  # the largest, in steps of 1/255, from the file; None if the sizes differ
    changed: dict[str, tuple[Any, Any]]  # fingerprint entries: then, now


def replay(source: Path, model: str | None = None) -> Replay:
    """Make the winner of a run folder, or the picture of a PNG, again: at the same batch size and thread count.

    `model` says where to find the model instead of what the recipe says; a PNG that asks for anything but a
    registered model needs it, since the file may come from anyone. Raises ValueError for a source without a recipe.
    """
    about, there = read(source)
    if source.is_file() and model is None:
        refuse_unknown(about.config.model, source)
    with threads(about.fingerprint.get("threads")):
        generator = load(about, model or about.config.model)
        pixels = make(about, generator)
        now = json.loads(json.dumps(generator.fingerprint()))
    same_size = pixels.shape == there.shape
    difference = int(np.abs(pixels.astype(int) - there.astype(int)).max()) if same_size else None
    changed = compare(about.fingerprint, now)
    return Replay(about, pixels, digest(pixels) == about.pixels, digest(there) == about.pixels, difference, changed)


def read(source: Path) -> tuple[Provenance, np.ndarray]:
    """The recipe and the recorded pixels of a run folder or a PNG file."""
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
    """The recipe's model, with the physical batch size that it had."""
    from gensearch.registry import load_model

    model = load_model(source, **about.config.options)
    if model.batch_size == about.batch_size:
        return model
    return load_model(source, **{**about.config.options, "batch_size": about.batch_size})


def make(about: Provenance, model: Model) -> np.ndarray:
    """The recipe's picture, as uint8 frames [t, h, w, 3]."""
    import torch

    from gensearch.core.noise import remake
    from gensearch.core.sampling import generate

    recipe = tuple(tuple(move) for move in about.recipe)
    try:
        noise = remake(recipe, model.noise_shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"this version cannot follow the recipe: {error}") from None
    with torch.no_grad():
        return to_pixels(generate(model, [about.config.prompt], noise, [recipe])[0])


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
