"""Physical batches of few sizes, so that the other rows of a batch change no bits of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gensearch.core.types import Noise, State
from verifiers.batches import pieces


def check_noise(name: str, shape: Sequence[int], prompts: Sequence[str], noise: Noise) -> None:
    """Refuse noise of a wrong shape.

    Args:
        name: Of the model, for the message.
        shape: Of one sample's noise.
        prompts: b of them.
        noise: [b, *shape].

    Raises:
        ValueError: It has another shape.
    """
    wanted = (len(prompts), *shape)
    if tuple(noise.shape) != wanted:
        raise ValueError(f"{name} takes noise of shape {wanted}, not {tuple(noise.shape)}")


def refuse_finished(state: State) -> None:
    """Refuse rows that need no further step.

    Args:
        state: About to be advanced.

    Raises:
        ValueError: A row is finished.
    """
    if bool(state.done.any()):
        rows = state.done.nonzero().flatten().tolist()
        raise ValueError(f"rows {rows} are finished after {state.num_steps} steps; leave them out")


def in_batches(function: Callable[..., Tensor], most: int, *tensors: Tensor) -> Tensor:
    """Map a function over rows in physical batches; a batch is filled by repeating its own rows.

    Args:
        function: Takes rows of each tensor and returns [rows, *].
        most: The largest physical batch.
        tensors: [b, *] each, b of 1 or more.

    Returns:
        [b, *].
    """
    made = []
    for part, count, size in pieces(len(tensors[0]), most):
        rows = part if count == size else [part.start + row % count for row in range(size)]
        made.append(function(*(tensor[rows] for tensor in tensors))[:count])
    return torch.cat(made)


def fill(rows: int, size: int) -> list[int]:
    """Row numbers of a batch, filled up with its last row.

    Args:
        rows: Of the batch.
        size: After filling.
    """
    return [min(i, rows - 1) for i in range(size)]


def grouped(rows: Sequence[int], most: int) -> Iterator[tuple[Sequence[int], list[int]]]:
    """Rows in physical batches: the rows themselves, and the same filled up by repeating them.

    Args:
        rows: Row numbers.
        most: The largest physical batch.
    """
    for part, count, size in pieces(len(rows), most):
        keep = rows[part]
        yield keep, [keep[i % count] for i in range(size)]
