"""The pictures of an evaluation: which are lost or damaged, and how they are made again from their recipes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gensearch.core.noise import remake
from gensearch.core.sampling import again
from gensearch.core.types import Model
from gensearch.evaluate.journal import Record
from gensearch.evaluate.made import Made, frames, stored
from gensearch.evaluate.outcome import pixel_hash
from gensearch.files.atomic import write_atomic
from gensearch.files.images import decode, digest, encode


def picture(record: Record, pixels: np.ndarray) -> bytes:
    """A PNG file that holds the recipe of its pixels.

    Args:
        record: Of the trial.
        pixels: uint8 [h, w, 3], or [t, h, w, 3] of a clip.
    """
    about = {name: record[name] for name in ("id", "method", "text", "root", "recipe")}
    return encode(frames(pixels), {"gensearch": json.dumps(about)})


def write_pictures(folder: Path, block: Sequence[Made]) -> None:
    """Write the winners of a block.

    Args:
        folder: Of the evaluation.
        block: Its trials.
    """
    for made in block:
        if "error" not in made.record:
            write_atomic(folder / made.record["picture"], picture(made.record, made.pixels[0]))


def lost(folder: Path, found: Sequence[Record]) -> list[Record]:
    """The records whose picture is missing, or has other pixels than it had.

    Args:
        folder: Of the evaluation.
        found: Its records.
    """
    return [record for record in found if not whole(folder / record["picture"], record.get("sha256"))]


def whole(path: Path, pixels: str | None) -> bool:
    """Whether a picture can be read and has its pixels.

    Args:
        path: Of the file.
        pixels: Their SHA-256; None if it was not recorded.
    """
    try:
        return digest(decode(path)[0]) == pixels or pixels is None
    except ValueError:
        return False


@torch.no_grad()
def made_again(folder: Path, record: Record, models: Mapping[str, Model]) -> bool:
    """Write the picture of a record once more, with the same pixels; False if its recipe does not give them.

    Its last bits depend on the sizes of its physical batches, so all sizes are tried.

    Args:
        folder: Of the evaluation.
        record: Whose picture is lost.
        models: Generators by method.
    """
    model = models[record["method"]]
    recipe = tuple(tuple(move) for move in record["recipe"])
    noise = remake(recipe, model.noise_shape)
    for power in reversed(range(model.batch_size.bit_length())):
        pixels = stored(again(model, record["text"], noise, recipe, (1 << power,)))[0]
        if record.get("sha256") in (None, pixel_hash(pixels)):
            write_atomic(folder / record["picture"], picture({"id": None, **record}, pixels))
            return True
    return False
