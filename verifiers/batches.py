"""Physical batches: how many rows a network call takes, and the check that they are pictures."""

from __future__ import annotations

from collections.abc import Sequence

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
    pieces = [(largest, largest)] * (rows // largest)
    rows %= largest
    while rows:
        up = 1 << (rows - 1).bit_length()
        size = up if (up - rows) * SLACK <= up else up // 2
        pieces.append((min(rows, size), size))
        rows -= min(rows, size)
    return pieces


def sizes(rows: int, most: int) -> list[int]:
    """The physical size of the batch that each row is in."""
    return [size for count, size in cut(rows, most) for _ in range(count)]


def padding(rows: int, most: int) -> int:
    """Rows that only fill physical batches."""
    return sum(size - count for count, size in cut(rows, most))


def physical_batches(rows: int, most: int) -> list[slice | Tensor]:
    """Which rows go into each physical batch: slices, or an index that repeats the last row to fill it."""
    batches: list[slice | Tensor] = []
    first = 0
    for count, size in cut(rows, most):
        last = first + count
        whole = count == size
        batches.append(slice(first, last) if whole else torch.arange(first, first + size).clamp(max=last - 1))
        first = last
    return batches


def require_pictures(name: str, media: Media, prompts: Sequence[str]) -> None:
    """Raise ValueError for anything but pictures [b, 3, h, w] with one prompt each."""
    if media.ndim != 4 or len(media) != len(prompts):
        raise ValueError(
            f"{name} takes pictures [b, 3, h, w] with one prompt each; it got media of shape "
            f"{list(media.shape)} and {len(prompts)} prompts. Score the frames of a clip one by one."
        )
