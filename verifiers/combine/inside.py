"""Verifiers inside verifiers: what a sum or a wrapper consists of, and whether two share a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from verifiers.types import Verifier


def judges(verifier: Verifier) -> Iterator[Verifier]:
    """Yield a verifier and every verifier inside it: terms of sums, what others wrap, and what decides elections.

    Args:
        verifier: any verifier; its optional members are listed in `verifiers.types.Verifier`.
    """
    yield verifier
    wrapped = (getattr(verifier, "judge", None), *getattr(verifier, "judges", ()))
    for inner in (*(term.verifier for term in getattr(verifier, "terms", ())), *wrapped):
        if inner is not None:
            yield from judges(inner)


def leaves(verifier: Verifier) -> list[Verifier]:
    """Return the single verifiers that score each sample: the terms of a sum, or the verifier itself.

    Args:
        verifier: any verifier; sums may be nested. An elector without terms scores nothing.
    """
    inside = [leaf for term in getattr(verifier, "terms", ()) for leaf in leaves(term.verifier)]
    return inside or ([] if elects(verifier) else [verifier])


def with_leaves(verifier: Verifier, change: Callable[[Verifier], Verifier]) -> Verifier:
    """Return a copy of a verifier or sum in which every single verifier is replaced.

    Args:
        verifier: any verifier; sums may be nested.
        change: called with each single verifier, returns its replacement.
    """
    if not combined(verifier):
        return change(verifier)
    changed: Any = copy(verifier)
    changed.terms = tuple(replace(term, verifier=with_leaves(term.verifier, change)) for term in changed.terms)
    if getattr(verifier, "final", None) is not None:
        changed.final = with_leaves(changed.final, change)
    return cast(Verifier, changed)


def elects(verifier: object) -> bool:
    """Return whether a verifier elects among finished candidates, as `verifiers.combine.elector.Elector` does.

    Args:
        verifier: any verifier.
    """
    return hasattr(verifier, "elect")


def combined(verifier: object) -> bool:
    """Return whether a verifier consists of others: a sum, or an elector.

    Args:
        verifier: any verifier.
    """
    return bool(getattr(verifier, "terms", ())) or elects(verifier)


def leaf_names(*verifiers: Verifier) -> set[str]:
    """Return the names of the single verifiers that some verifiers consist of, wrapped ones and their wrappers too.

    Args:
        *verifiers: any number of verifiers and sums.
    """
    return {inner.name for verifier in verifiers for inner in judges(verifier) if not combined(inner)}


def overlap(one: Verifier, other: Verifier) -> bool:
    """Return whether two verifiers use a common verifier, by name or by the weights of its network.

    Args:
        one: a verifier or sum.
        other: another one.
    """
    ours, theirs = ([inner for inner in judges(x) if not combined(inner)] for x in (one, other))
    return any(a.name == b.name or same_network(a, b) for a in ours for b in theirs)


def same_network(one: Verifier, other: Verifier) -> bool:
    """Return whether two single verifiers have equal weights or one remote model, under any name and from any file.

    Args:
        one: a verifier, with its network as `model` or `endpoint` if it has one.
        other: another one.
    """
    if (place := getattr(one, "endpoint", None)) is not None and place == getattr(other, "endpoint", None):
        return True
    a, b = (getattr(verifier, "model", None) for verifier in (one, other))
    if not isinstance(a, nn.Module) or not isinstance(b, nn.Module):
        return False
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(equal(mine[name], theirs[name]) for name in mine)


def equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal in the less precise of their dtypes, on any device.

    Args:
        one: a tensor of any shape.
        other: another one.
    """
    if one.shape != other.shape or "meta" in (one.device.type, other.device.type):
        return False
    coarse = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return torch.equal(one.to("cpu", coarse), other.to("cpu", coarse))
