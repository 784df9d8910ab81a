"""What a search declares in its signature and docstring: its knobs, their ranges, and which of them bound its length.

A knob is a keyword-only parameter. Its annotation holds its range (`n: PositiveInt`), and the marker `Bound` if the
search ends once the knob is set. What it does stands in the `Args:` block of the docstring:

    Args:
        n: number of samples; integer above 0 (default 4)
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from gensearch.core.errors import allowed, nearest, rule
from gensearch.core.types import Search


class Bound:
    """Marks a knob that bounds the length of a search when it is set; None leaves that to the budget."""


Count = Annotated[PositiveInt | None, Bound()]
Updates = Annotated[NonNegativeInt | None, Bound()]
NOUNS = {"integer": "integer", "number": "number", "string": "text", "array": "list", "object": "mapping"}


class Knob(NamedTuple):
    """One knob of a search: what help, a dry run or a page shows of it."""

    name: str
    text: str  # what it does; empty if the docstring of the search does not say
    default: Any
    range: str  # the values that it accepts, in words
    bounds: bool  # whether the search ends once it is set


def describe(search: Search) -> list[Knob]:
    """The knobs of a search, in the order of its signature."""
    hints, entries, bounding = hints_of(search), documented(search), bounds(search)
    found = []
    for name, parameter in knobs_of(search).items():
        values = accepted(hints.get(name, Any), parameter.default)
        found.append(Knob(name, without(entries.get(name, ""), values), parameter.default, values, name in bounding))
    return found


def shown(default: Any) -> str:
    """A default as docstrings and tables write it."""
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, str):
        return default or '""'
    return json.dumps(default) if isinstance(default, list) else str(default)


def knobs_of(search: Search) -> dict[str, inspect.Parameter]:
    """The knobs of a search: its keyword-only parameters, less those that `stream` fills in."""
    given = {"rng", "ledger", "propose"}
    parameters = inspect.signature(search).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY and k not in given}


def bounds(search: Search) -> tuple[str, ...]:
    """Knobs that bound the length of a search when they are set: those marked with `Bound`."""
    hints = hints_of(search)
    return tuple(name for name in knobs_of(search) if marked(hints.get(name)))


def marked(hint: Any) -> bool:
    """Whether an annotation, or a member of its union, carries `Bound`."""
    if any(isinstance(extra, Bound) for extra in getattr(hint, "__metadata__", ())):
        return True
    inside = hint.__origin__ if get_origin(hint) is Annotated else hint
    return get_origin(inside) in (Union, UnionType) and any(map(marked, get_args(inside)))


def bounded(search: Search, knobs: Mapping[str, Any]) -> bool:
    """Whether one of the knobs that bound the length of a search is set."""
    return any(knobs.get(name) is not None for name in bounds(search))


def checked_knobs(search: Search, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as the search's annotations want them ("3" becomes 3); raises ValueError for an unknown or unfit one.

    Ranges are part of an annotation: `n: PositiveInt`, `cosine: Annotated[float, Field(gt=-1, lt=1)]`.
    """
    known = [*knobs_of(search), "propose"]
    fit = {}
    for name, value in knobs.items():
        if name not in known:
            raise ValueError(f"unknown knob {name!r} for {search.__name__}{nearest(name, known)}")
        adapter = annotation(search, name)
        strict = isinstance(value, bool) or None  # True does not count as the number 1
        try:
            fit[name] = adapter.validate_python(value, strict=strict)
        except ValidationError as error:
            raise ValueError(f"knob {name} of {search.__name__} is {value!r}: {rule(error, adapter)}") from None
    return fit


def hints_of(search: Callable[..., object]) -> dict[str, Any]:
    """The annotations of a search with what they carry."""
    return _hints(search)


def annotation(search: Callable[..., object], name: str) -> TypeAdapter[Any]:
    """The validator of one knob."""
    return _adapter(search, name)


@lru_cache(64)  # read once, not for every prompt
def _hints(search: Callable[..., object]) -> dict[str, Any]:
    return get_type_hints(search, include_extras=True)


@lru_cache(256)
def _adapter(search: Callable[..., object], name: str) -> TypeAdapter[Any]:
    return adapter_of(hints_of(search).get(name, Any))


def adapter_of(hint: Any) -> TypeAdapter[Any]:
    """The validator of an annotation; classes that pydantic does not know are checked by `isinstance`."""
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def summary(search: Search) -> str:
    """The first paragraph of a search's docstring: what it does, in one sentence."""
    return paragraphs(search)[0]


def source(search: Search) -> str:
    """Where an algorithm comes from: the paragraph `Source: ...` of its docstring; empty without one."""
    found = (text for text in paragraphs(search) if text.startswith("Source: "))
    return next(found, "").removeprefix("Source: ")


def paragraphs(search: Search) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(part.split()) for part in (inspect.getdoc(search) or "").split("\n\n")]


def documented(search: Search) -> dict[str, str]:
    """The entries of the `Args:` block of a docstring, each on one line."""
    block = re.search(r"^Args:\n((?: +.*\n|\n(?= ))*)", (inspect.getdoc(search) or "") + "\n", re.MULTILINE)
    text = inspect.cleandoc(block[1]) if block else ""
    parts = re.split(r"^\*{0,2}(\w+)(?: \(.*?\))?: *", text, flags=re.MULTILINE)[1:]
    return {name: " ".join(entry.split()) for name, entry in zip(parts[::2], parts[1::2], strict=True)}


def without(entry: str, values: str) -> str:
    """What an entry of `Args:` says of a knob, less its default and the range that its annotation declares."""
    text = re.sub(r" ?\(default[^()]*(\([^()]*\)[^()]*)*\)\.?$", "", entry)
    return text.removesuffix(values).removesuffix("; ") if values else text


def accepted(hint: Any, default: Any = None) -> str:
    """The values that an annotation accepts, in words; None is left out where it is the default anyway."""
    kinds = dict.fromkeys(spelled(kind) for kind in members(hint))
    return either([kind for kind in kinds if kind and not (kind == "None" and default is None)])


def members(hint: Any) -> list[Any]:
    """The kinds of a union, each with the constraints that stand around the union; any other annotation as it is."""
    inside, extras = hint, ()
    if get_origin(hint) is Annotated:
        inside, extras = hint.__origin__, hint.__metadata__
    if get_origin(inside) not in (Union, UnionType):
        return [hint]
    kinds = [kind for member in get_args(inside) for kind in members(member)]
    return [Annotated[(kind, *extras)] if extras and kind is not NoneType else kind for kind in kinds]


def spelled(kind: Any) -> str:
    """One kind of value in words; empty for one that can be anything."""
    inside = kind.__origin__ if get_origin(kind) is Annotated else kind
    if inside is NoneType:
        return "None"
    if inside is Callable or get_origin(inside) is Callable:
        return "function"
    try:
        return of_schema(adapter_of(kind).json_schema())
    except PydanticUserError:  # not data, such as a network
        return str(getattr(inside, "__name__", inside))


def of_schema(schema: Mapping[str, Any], many: bool = False) -> str:
    """A JSON schema in words; `many` of such values."""
    if "anyOf" in schema:
        return either([of_schema(kind, many) for kind in schema["anyOf"]])
    if values := schema.get("enum") or [schema[name] for name in ("const",) if name in schema]:
        return either([str(value) for value in values])
    kind = schema.get("type")
    if kind in ("boolean", "null"):
        return "True or False" if kind == "boolean" else "None"
    text = NOUNS.get(str(kind), "") + ("s" if many and kind in NOUNS else "")
    if kind == "array" and (items := of_schema(schema.get("items", {}), many=True)):
        count = f"{schema['minItems']} " if schema.get("minItems", 0) == schema.get("maxItems") else ""
        text += f" of {count}{items}"
    return f"{text} {allowed(schema).removeprefix('it should be ')}".strip()


def either(kinds: Sequence[str]) -> str:
    """Alternatives in words: "a, b or c"."""
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)
