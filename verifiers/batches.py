"""Pictures in fixed physical batches, and the check that they are pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from verifiers.types import Media


def require_pictures(name: str, media: Media, prompts: Sequence[str]) -> None:
    """Check that media are pictures with one prompt each.

    Args:
        name: the verifier's name, for the error message.
        media: what is to be scored, pictures [b, 3, h, w].
        prompts: b prompts.

    Raises:
        ValueError: for media of another shape, such as clips, and for another number of prompts.
    """
    if media.ndim != 4 or len(media) != len(prompts):
        raise ValueError(
            f"{name} takes pictures [b, 3, h, w] with one prompt each; it got media of shape "
            f"{list(media.shape)} and {len(prompts)} prompts. Score the frames of a clip one by one."
        )


def fixed_batches(rows: int, batch_size: int) -> list[slice | Tensor]:
    """Split rows into batches of exactly `batch_size`.

    Args:
        rows: number of rows, at least 0.
        batch_size: rows per batch, at least 1.

    Returns:
        Slices for full batches; for the rest an index int64 [batch_size] that repeats the last row.
    """
    whole = rows - rows % batch_size
    batches: list[slice | Tensor] = [slice(first, first + batch_size) for first in range(0, whole, batch_size)]
    if whole < rows:
        batches.append(torch.arange(whole, whole + batch_size).clamp(max=rows - 1))
    return batches
