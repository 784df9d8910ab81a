"""Calls of a network that are joined along the batch where that is exact, and a batch that shrinks with the memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gensearch.core.types import Rows, State, cat
from gensearch.engine.booked import joined as joined_scores
from gensearch.engine.metered import noted
from verifiers.adapt import ask
from verifiers.batches import pieces, sizes
from verifiers.types import Scores

Answer = Any  # what a call returned, or the exception that it raised


class Call(NamedTuple):
    """One call of a model or verifier.

    Attributes:
        target: What is called.
        verb: The name of the method; "score" for a verifier.
        rows: The arguments, each with one row per sample: prompts, tensors, states, or None.
        most: The largest physical batch.
        progress: Of a verifier.
        grad: Whether gradients are recorded.
    """

    target: Any
    verb: str
    rows: tuple[Any, ...]
    most: int
    progress: float
    grad: bool

    @property
    def rowcount(self) -> int:
        """How many samples it is about."""
        return max(len(value) for value in self.rows if value is not None)

    @property
    def kind(self) -> object:
        """Calls of one kind can be joined; a call that gradients flow through is of a kind of its own.

        The gradient of one sample would run back through the network for all the others.
        """
        counts = {len(value) for value in self.rows if value is not None}
        if len(counts) > 1 or (self.grad and any(map(tracked, self.rows))):
            return object()
        shapes = tuple(map(shape, self.rows))
        return id(self.target), self.verb, self.most, self.progress, self.grad, shapes


class Joint:
    """Runs calls that wait at the same time, those of one kind together.

    A physical batch that does not fit into memory is halved, with a warning, for the rest of the process.
    """

    def __init__(self) -> None:
        self._most: dict[int, int] = {}  # of targets that ran out of memory

    def run(self, calls: Sequence[Call]) -> list[tuple[Answer, float]]:
        """What each call returns, or the exception that it raises, and its share of the time.

        Where a joined call raises an exception, its calls run one by one, so that each gets its own.

        Args:
            calls: In the order in which rows are joined.
        """
        groups: dict[object, list[int]] = {}
        for index, call in enumerate(calls):
            groups.setdefault(call.kind, []).append(index)
        found: dict[int, tuple[Answer, float]] = {}
        for indices in groups.values():
            found |= zip(indices, self._together([calls[index] for index in indices]), strict=True)
        return [found[index] for index in range(len(calls))]

    def _together(self, calls: Sequence[Call]) -> Iterator[tuple[Answer, float]]:
        began = time.perf_counter()
        counts = [call.rowcount for call in calls]
        try:
            whole = self._call(joined(calls)) if len(calls) > 1 else self._call(calls[0])
        except Exception as error:
            if len(calls) == 1:
                yield error, time.perf_counter() - began
            else:
                for call in calls:
                    yield from self._together([call])
            return
        seconds = time.perf_counter() - began
        first = 0
        for count in counts:
            yield part(whole, first, first + count), seconds * count / sum(counts)
            first += count

    def _call(self, call: Call) -> Any:
        while True:
            most = self._most.get(id(call.target), call.most)
            try:
                return run(call, most)
            except Exception as error:
                if not out_of_memory(error) or min(most, call.rowcount) == 1:
                    raise
                size = 1 << (min(most, call.rowcount) - 1).bit_length() - 1
                self._most[id(call.target)] = size
                name = getattr(call.target, "name", type(call.target).__name__)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(
                f"{name} ran out of memory; it goes on with batches of {size}, which changes the last bits. Set a "
                "smaller batch_size to keep them",
                stacklevel=2,
            )


def run(call: Call, most: int) -> Any:
    """Run one call in physical batches, and record their sizes in the states that it returns.

    Args:
        call: What to run.
        most: The largest physical batch.
    """
    with torch.set_grad_enabled(call.grad):
        if call.verb == "score":
            media, prompts = call.rows
            return together(
                [
                    ask(call.target, media[rows], prompts[rows], progress=call.progress)
                    for rows, _, _ in pieces(call.rowcount, most)
                ]
            )
        before = next((value for value in call.rows if isinstance(value, State)), None)
        rows = tuple(map(bare, call.rows))
        made = [
            getattr(call.target, call.verb)(*(part(value, piece.start, piece.stop) for value in rows))
            for piece, _, _ in pieces(call.rowcount, most)
        ]
        whole = together(made)
        return noted(whole, before, sizes(call.rowcount, most)) if isinstance(whole, State) else whole


def bare(value: Any) -> Any:
    """A state without the physical batch sizes, which are noted anew; anything else as it is."""
    if not isinstance(value, State):
        return value
    return replace(value, extra={name: column for name, column in value.extra.items() if name != "sizes"})


def joined(calls: Sequence[Call]) -> Call:
    """Calls of one kind as one.

    Args:
        calls: Two or more.
    """
    return calls[0]._replace(rows=tuple(together(column) for column in zip(*(c.rows for c in calls), strict=True)))


def together(values: Sequence[Any]) -> Any:
    """Rows of several calls as those of one.

    Args:
        values: One or more: tensors, states, scores, sequences of prompts, or None.
    """
    first = values[0]
    if first is None or len(values) == 1:
        return first
    if isinstance(first, State):
        return cat(values)
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, Scores):
        return joined_scores(values)
    return [row for value in values for row in value]


def part(value: Any, first: int, last: int) -> Any:
    """Rows from `first` up to `last` of what a call takes or returns; None stays None."""
    if isinstance(value, State):
        return value[range(first, last)]
    if isinstance(value, Scores):
        return Scores(value.total[first:last], {name: column[first:last] for name, column in value.parts.items()})
    return None if value is None else value[first:last]


def shape(value: Any) -> object:
    """What rows must have in common to be joined."""
    if isinstance(value, State):
        columns = tuple((name, shape(column)) for name, column in sorted(value.extra.items()))
        return type(value), value.num_steps, shape(value.x), shape(value.clean), columns
    if isinstance(value, Tensor):
        return value.dtype, value.device, tuple(value.shape[1:])
    return "rows" if isinstance(value, Rows | list | tuple) else None


def tracked(value: Any) -> bool:
    """Whether gradients flow through an argument."""
    if isinstance(value, State):
        return any(map(tracked, (value.x, value.clean, *value.extra.values())))
    return isinstance(value, Tensor) and value.requires_grad


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of the machine or of its accelerator is used up."""
    said = str(error).lower()
    lacking = isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    return lacking or isinstance(error, MemoryError)
