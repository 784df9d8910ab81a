"""Error messages: one line that names the value, the rule and the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from verifiers.names import nearest as nearest


class NothingScored(ValueError):
    """A search ended, and no sample of it could be scored."""


BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
OUT_OF_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}  # pydantic's names


def allowed(schema: Mapping[str, Any]) -> str:
    """The range of numbers that a JSON schema allows, in words.

    Args:
        schema: Of a number, or a union with one.
    """
    kinds = (schema, *schema.get("anyOf", ()))
    ends = [f"{words} {plain(kind[bound])}" for kind in kinds for bound, words in BOUNDS.items() if bound in kind]
    return f"it should be {' and '.join(ends)}"


def rule(error: Any, adapter: Any) -> str:
    """The rule that a value broke: its whole range for a number out of range, else pydantic's message.

    For a union of types it is the message about the type that matched far enough to check its entries.

    Args:
        error: A pydantic ValidationError.
        adapter: The TypeAdapter that raised it.
    """

    def entries(problem: Any) -> list[int]:
        return [place for place in problem["loc"] if isinstance(place, int)]

    problem = max(error.errors(), key=lambda problem: len(entries(problem)))
    if where := entries(problem):
        return f"entry {', '.join(map(str, where))}: {problem['msg'].lower()}"
    return allowed(adapter.json_schema()) if problem["type"] in OUT_OF_RANGE else str(problem["msg"]).lower()


def by_flag(text: str, flags: Mapping[str, str]) -> str:
    """An error about the value of a field, such as `compute: ...` or `option steps of ...`, as one about its flag.

    Args:
        text: The message.
        flags: Field -> flag of the command line.
    """
    for field, flag in flags.items():
        if re.match(rf"{re.escape(field)}(: | of .* is | [-+.e\d]+ )", text):
            return flag + text[len(field) :]
    return text


def plain(number: float) -> str:
    """A number as text, without ".0"."""
    return str(int(number) if number == int(number) else number)


def one_line(error: BaseException) -> str:
    """An error as one printable line of at most 600 characters; an error of an unexpected kind starts with its type."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif not text or not isinstance(error, ValueError | ImportError | RuntimeError | OSError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 600 else f"{text[:599]}…"
