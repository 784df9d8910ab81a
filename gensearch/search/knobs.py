"""What the signature of a search declares: its knobs, their ranges, and which of them bound its length."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from gensearch.core.errors import nearest, rule


class Bound:
    """Marks a knob that bounds the length of a search when it is set; None leaves that to the budget."""


Count = Annotated[PositiveInt | None, Bound()]
Updates = Annotated[NonNegativeInt | None, Bound()]


def knobs_of(search: Any) -> dict[str, inspect.Parameter]:
    """The knobs of a search: its keyword-only parameters, less those that `stream` fills in."""
    given = {"rng", "ledger", "propose"}
    parameters = inspect.signature(search).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY and k not in given}


def bounds(search: Any) -> tuple[str, ...]:
    """Knobs that bound the length of a search when they are set: those marked with `Bound`."""
    marked = [
        name
        for name, hint in hints_of(search).items()
        if any(isinstance(m, Bound) for m in getattr(hint, "__metadata__", ()))
    ]
    return tuple(name for name in knobs_of(search) if name in marked)


def bounded(search: Any, knobs: Mapping[str, Any]) -> bool:
    """Whether one of the knobs that bound the length of a search is set."""
    return any(knobs.get(name) is not None for name in bounds(search))


def checked_knobs(search: Any, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as the search's annotations want them ("3" becomes 3); raises ValueError for an unknown or unfit one.

    Ranges are part of an annotation: `n: PositiveInt`, `cosine: Annotated[float, Field(gt=-1, lt=1)]`.
    """
    known = [*knobs_of(search), "propose"]
    fit = {}
    for name, value in knobs.items():
        if name not in known:
            raise ValueError(f"unknown knob {name!r} for {search.__name__}{nearest(name, known)}")
        adapter = annotation(search, name)
        try:
            fit[name] = adapter.validate_python(value, strict=isinstance(value, bool) or None)  # true is no number
        except ValidationError as error:
            raise ValueError(f"knob {name} of {search.__name__} is {value!r}: {rule(error, adapter)}") from None
    return fit


def hints_of(search: Any) -> dict[str, Any]:
    """The annotations of a search with what they carry."""
    return _hints(search)


@lru_cache(64)  # read once, not for every prompt
def _hints(search: Any) -> dict[str, Any]:
    return get_type_hints(search, include_extras=True)


@lru_cache(256)
def annotation(search: Any, name: str) -> TypeAdapter[Any]:
    """What a search says that a knob of its may be."""
    return TypeAdapter(hints_of(search).get(name, Any), config=ConfigDict(arbitrary_types_allowed=True))
