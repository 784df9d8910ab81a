"""Independent measurements: rows through the real modules, digests of weights, states of global generators."""

from __future__ import annotations

import hashlib
import math
import random  # noqa: TID251  (disturbed on purpose)
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gensearch.core.ledger import Ledger


class Failure(RuntimeError):
    """An exception that a law raises on purpose."""


@contextmanager
def counting(networks: Mapping[str, nn.Module], fail_at: int | None = None) -> Iterator[Counter[str]]:
    """Count the rows that complete a forward pass of each module, by ledger column.

    Args:
        networks: Denoisers under "nfe", decoders under "decoded", transformers under "tokens", which count b * length.
        fail_at: The number of a call, from 0 over all modules, that raises instead of running.

    Raises:
        Failure: At that call.
    """
    rows: Counter[str] = Counter()
    calls = [0]

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls[0] += 1
        if fail_at is not None and calls[0] > fail_at:
            raise Failure(f"network call {fail_at} fails, as staged")

    def after(column: str) -> Any:
        def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            first = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim)
            rows[column] += math.prod(first.shape[:2]) if column == "tokens" else len(first)

        return count

    hooks = [module.register_forward_pre_hook(before, with_kwargs=True) for module in networks.values()]
    hooks += [module.register_forward_hook(after(column), with_kwargs=True) for column, module in networks.items()]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def calls_of(networks: Mapping[str, nn.Module], work: Callable[[], Any]) -> int:
    """The number of network calls of a function.

    Args:
        networks: By ledger column.
        work: Is called once.
    """
    calls: list[None] = []
    hooks = [module.register_forward_hook(lambda *_: calls.append(None)) for module in networks.values()]
    work()
    for hook in hooks:
        hook.remove()
    return len(calls)


def assert_booked(ledger: Ledger, networks: Mapping[str, nn.Module], rows: Counter[str]) -> None:
    """The rows that a ledger booked for each network are those that hooks counted.

    Args:
        ledger: Of the search.
        networks: By ledger column.
        rows: That hooks counted.
    """
    booked = {column: getattr(ledger.spent, column) + getattr(ledger.padding, column) for column in networks}
    assert booked == {column: rows[column] for column in networks}, "the ledger and the forward hooks disagree"


def weights_of(networks: Mapping[str, nn.Module]) -> str:
    """A digest of every parameter, buffer and accumulated gradient."""
    digest = hashlib.blake2b()
    for module in networks.values():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            digest.update(
                name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
            digest.update(b"no gradient" if value.grad is None else b"a gradient")
    return digest.hexdigest()


def disturb(seed: int) -> None:
    """Put every global generator into a known state."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (disturbed on purpose)
    random.seed(seed)


def global_state() -> tuple[Any, ...]:
    """The state of every global generator, comparable."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  (read, to check that nobody drew from it)
    return torch.get_rng_state().numpy().tobytes(), name, np.asarray(keys).tobytes(), *rest, random.getstate()
