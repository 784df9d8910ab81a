"""What models share about rows: physical batches of few sizes, so that the company of a row changes no bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gensearch.core.types import Noise, State
from verifiers.batches import cut


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


def in_batches(function: Callable[..., Tensor], most: int, *tensors: Tensor) -> Tensor:
    """Map `function` over the rows of tensors [b, *] in physical batches of at most `most` rows.

    A batch that is filled repeats its own rows, and what they give is dropped. Returns [b, *]; b >= 1.
    """
    made, first = [], 0
    for count, size in cut(len(tensors[0]), most):
        rows = [first + row % count for row in range(size)]
        piece = (
            tensors
            if size == len(tensors[0]) == count
            else tuple(t[rows[0] : rows[-1] + 1] if count == size else t[rows] for t in tensors)
        )
        made.append(function(*piece)[:count])
        first += count
    return torch.cat(made)


def fill(rows: int, size: int) -> list[int]:
    """Row numbers of a batch filled up to `size` with its last row."""
    return [min(i, rows - 1) for i in range(size)]


def grouped(rows: Sequence[int], most: int) -> Iterator[tuple[Sequence[int], list[int]]]:
    """Rows in physical batches: those that count, and the same filled up by repeating them."""
    first = 0
    for count, size in cut(len(rows), most):
        keep = rows[first : first + count]
        yield keep, [keep[i % count] for i in range(size)]
        first += count
