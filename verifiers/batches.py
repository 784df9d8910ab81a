"""Physical batches: how many rows a network call takes, and the check that they are pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from verifiers.types import Media

SLACK = 8  # one row in so many may be padding


def cut(rows: int, most: int) -> list[tuple[int, int]]:
    """Rows in physical batches: (rows that count, physical size) of each network call, in order.

    Sizes are the powers of two up to `most`. Full batches come first. The rest takes the next larger size where at most
    an eighth of that is padding, and smaller sizes where it is not. The last bits of a row depend on the size of its
    batch, and on nothing else about it, for any number of threads that is a power of two.

    Args:
        rows: rows of the call, 0 or more.
        most: largest physical batch, 1 or more.
    """
    largest = 1 << (most.bit_length() - 1)
    found = [(largest, largest)] * (rows // largest)
    rows %= largest
    while rows:
        up = 1 << (rows - 1).bit_length()
        size = up if (up - rows) * SLACK <= up else up // 2
        found.append((min(rows, size), size))
        rows -= min(rows, size)
    return found


def pieces(rows: int, most: int) -> Iterator[tuple[slice, int, int]]:
    """Go through rows as `cut` cuts them: which rows, how many they are, and the physical size of their batch."""
    first = 0
    for count, size in cut(rows, most):
        yield slice(first, first + count), count, size
        first += count


def sizes(rows: int, most: int) -> list[int]:
    """The physical size of the batch that each row is in."""
    return [size for count, size in cut(rows, most) for _ in range(count)]


def padding(rows: int, most: int) -> int:
    """Rows that only fill physical batches."""
    return sum(size - count for count, size in cut(rows, most))


def physical_batches(rows: int, most: int) -> list[slice | Tensor]:
    """Which rows go into each physical batch: slices, or an index that repeats the last row to fill it."""
    return [
        part if count == size else torch.arange(part.start, part.start + size).clamp(max=part.stop - 1)
        for part, count, size in pieces(rows, most)
    ]


def require_pictures(name: str, media: Media, prompts: Sequence[str]) -> None:
    """Check that media are pictures with one prompt each.

    Args:
        name: the verifier's name, for the error message.
        media: what is to be scored, pictures [b, 3, h, w] of floating point.
        prompts: b prompts.

    Raises:
        ValueError: for media of another shape, such as clips, grey pictures or pictures with transparency, for whole
            numbers as pixels, and for another number of prompts.
    """
    if not media.is_floating_point():
        raise ValueError(f"{name} takes pixels in [0, 1], not {media.dtype}; divide 8-bit pixels by 255")
    if media.ndim != 4 or media.shape[1] != 3 or len(media) != len(prompts):
        raise ValueError(
            f"{name} takes pictures [b, 3, h, w] with one prompt each; it got media of shape "
            f"{list(media.shape)} and {len(prompts)} prompts. Score the frames of a clip one by one."
        )
