"""One fixed physical batch size for every network call, so that a sample's bits do not depend on its company."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_batches(function: Callable[..., Tensor], batch_size: int, *tensors: Tensor) -> Tensor:
    """Map `function` over the rows of tensors [b, *], always `batch_size` rows at a time.

    The last batch is filled by repeating its own rows, and what they give is dropped. Returns [b, *]; b >= 1.
    """
    pieces = zip(*(t.split(batch_size) for t in tensors), strict=True)
    return torch.cat([part(function, batch_size, *piece) for piece in pieces])


def part(function: Callable[..., Tensor], batch_size: int, *tensors: Tensor) -> Tensor:
    """One call: up to `batch_size` rows, filled up to exactly that many."""
    count = len(tensors[0])
    if count < batch_size:
        index = torch.arange(batch_size) % count
        tensors = tuple(t[index.to(t.device)] for t in tensors)
    return function(*tensors)[:count]
