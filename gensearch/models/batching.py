"""What models share about rows: one fixed physical batch for every network call, so that company changes no bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gensearch.core.types import Noise, State


def check_noise(name: str, shape: Sequence[int], prompts: Sequence[str], noise: Noise) -> None:
    """Raise ValueError for noise that is not of one sample's shape for each prompt."""
    wanted = (len(prompts), *shape)
    if tuple(noise.shape) != wanted:
        raise ValueError(f"{name} takes noise of shape {wanted}, not {tuple(noise.shape)}")


def refuse_finished(state: State) -> None:
    """Raise ValueError if a row needs no further step."""
    if bool(state.done.any()):
        rows = state.done.nonzero().flatten().tolist()
        raise ValueError(f"rows {rows} are finished after {state.num_steps} steps; leave them out")


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


def spans(rows: int, size: int) -> list[tuple[int, int]]:
    """Cuts of at most `size` rows."""
    return [(i, min(i + size, rows)) for i in range(0, rows, size)]


def fill(rows: int, size: int) -> list[int]:
    """Row numbers of a batch filled up to `size` with its last row."""
    return [min(i, rows - 1) for i in range(size)]
