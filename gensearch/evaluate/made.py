"""What was generated and is not judged yet: records and 8-bit pixels, in a file for each block."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gensearch.evaluate.journal import PENDING, Record
from gensearch.files.atomic import write_atomic
from gensearch.files.images import to_pixels
from verifiers.types import Media

T = TypeVar("T")


class Made(NamedTuple):
    """A trial that was generated, or failed.

    Attributes:
        record: All that is known without a judge; with an `error` if the trial failed.
        pixels: uint8 [n, h, w, 3] of pictures or [n, t, h, w, 3] of clips: the winner, the plain sample, and each
            candidate where candidates are judged; n is 0 if the trial failed.
        broken: Rows that are not finite, and are not judged.
    """

    record: Record
    pixels: np.ndarray
    broken: tuple[int, ...] = ()

    @property
    def media(self) -> Media:
        """What judges see, and everybody who reads the pictures: [n, 3, h, w] or [n, t, 3, h, w] in [0, 1]."""
        return torch.from_numpy(self.pixels).movedim(-1, -3).float() / 255


def stored(media: Media) -> np.ndarray:
    """Samples as they are stored, uint8 [n, h, w, 3] or [n, t, h, w, 3].

    Args:
        media: [n, 3, h, w] or [n, t, 3, h, w] in [0, 1].
    """
    frames = np.stack([to_pixels(sample) for sample in media])
    return frames if media.ndim == 5 else frames[:, 0]


def frames(pixels: np.ndarray) -> np.ndarray:
    """A picture or clip as frames, uint8 [t, h, w, 3]; a picture is one of them.

    Args:
        pixels: uint8 [h, w, 3] or [t, h, w, 3].
    """
    return pixels if pixels.ndim == 4 else pixels[None]


def path_of(folder: Path, index: int) -> Path:
    """Where a block waits for its judges.

    Args:
        folder: Of the evaluation.
        index: Of the block.
    """
    return folder / PENDING / f"{index:06}.safetensors"


def keep(folder: Path, index: int, block: Sequence[Made]) -> None:
    """Write what was generated of a block, whole or not at all.

    Args:
        folder: Of the evaluation.
        index: Of the block.
        block: Its trials.
    """
    about = json.dumps([[made.record, made.broken] for made in block], allow_nan=False)
    pixels = {str(row): np.ascontiguousarray(made.pixels) for row, made in enumerate(block)}
    write_atomic(path_of(folder, index), save(pixels, {"block": about}))


def kept(folder: Path, index: int) -> list[Made]:
    """What waits of a block; nothing if it was not generated, or its file is damaged.

    Args:
        folder: Of the evaluation.
        index: Of the block.
    """
    return read(folder, index, lambda file, row, record, broken: Made(record, file.get_tensor(row), broken))


def waiting(folder: Path, index: int) -> list[Record]:
    """The records of what waits of a block, without its pixels; otherwise as `kept`.

    Args:
        folder: Of the evaluation.
        index: Of the block.
    """

    def trial(file: Any, row: str, record: Record, broken: tuple[int, ...]) -> Record:
        file.get_slice(row)  # refuses a file that lacks the pixels
        return record

    return read(folder, index, trial)


def read(folder: Path, index: int, trial: Callable[[Any, str, Record, tuple[int, ...]], T]) -> list[T]:
    """What a function makes of each trial of a block that waits; nothing as for `kept`.

    Args:
        folder: Of the evaluation.
        index: Of the block.
        trial: Takes the open file, the name of the trial's pixels in it, its record, and rows that are not finite.
    """
    try:
        with safe_open(path_of(folder, index), "numpy") as file:
            about: list[Any] = json.loads((file.metadata() or {})["block"])
            return [trial(file, str(row), record, tuple(broken)) for row, (record, broken) in enumerate(about)]
    except (SafetensorError, OSError, KeyError, ValueError):
        return []
