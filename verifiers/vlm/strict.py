"""Answers in JSON, checked strictly: what does not fit is no answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]  # JSON Schema: object, array, string, number, integer; enum, limits, required


class Unparsed(ValueError):
    """A reply that is no valid answer; its text is the reason, in a few words."""


def parse(text: str, schema: Schema) -> Any:
    """Return the JSON of a reply.

    The whole reply must be one JSON value. It may stand in one code fence, and after one closed <think> block.

    Args:
        text: the reply.
        schema: what the answer must be.

    Raises:
        Unparsed: for other text around it, keys that are there twice, and values of another type or range.
    """
    body = text.strip()
    if body.startswith("<think>"):
        body = body.partition("</think>")[2].strip()
    if body.startswith("```") and body.endswith("```"):
        body = body[3:-3].removeprefix("json").strip()
    try:
        value = json.loads(body, object_pairs_hook=unique, parse_constant=refuse)
    except Unparsed:
        raise
    except (ValueError, RecursionError):  # ValueError: a huge integer as well
        raise Unparsed("no JSON" if body else "an empty reply") from None
    fit(value, schema)
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises Unparsed if a key is there twice.

    Args:
        pairs: its keys and values.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unparsed("a key that is there twice")
    return found


def refuse(constant: str) -> Any:
    """Refuse NaN and Infinity, which are not JSON.

    Args:
        constant: what was written.
    """
    raise Unparsed(f"{constant} is no number")


def fit(value: Any, schema: Schema, where: str = "the answer") -> None:
    """Check plain data against a schema.

    Args:
        value: the data.
        schema: what it must be.
        where: what errors call it.

    Raises:
        Unparsed: if it does not fit; with the place and the rule, and without the value.
    """
    kind = schema["type"]
    if kind == "object":
        fit_object(value, schema, where)
    elif kind == "array":
        if not isinstance(value, list) or not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1000):
            raise Unparsed(f"{where} is no list of the right length")
        for item in value:
            fit(item, schema["items"], f"an item of {where}")
    elif kind == "string":
        if not isinstance(value, str) or not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10000):
            raise Unparsed(f"{where} is no text of the right length")
    else:
        number = type(value) is int or (kind == "number" and type(value) is float and math.isfinite(value))
        if not number:
            raise Unparsed(f"{where} is no {kind}")
        if not schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf):
            raise Unparsed(f"{where} is out of range")
    if "enum" in schema and value not in schema["enum"]:
        raise Unparsed(f"{where} is none of the allowed values")


def fit_object(value: Any, schema: Schema, where: str) -> None:
    """Check that data are an object with exactly the keys of its schema, whose values fit.

    Args:
        value: the data.
        schema: of type "object".
        where: what errors call it.

    Raises:
        Unparsed: as `fit`.
    """
    if not isinstance(value, dict):
        raise Unparsed(f"{where} is no object")
    wanted = schema["properties"]
    if missing := [name for name in wanted if name not in value]:
        raise Unparsed(f"{missing[0]!r} is missing")
    if len(value) > len(wanted):
        raise Unparsed(f"{where} has keys that nobody asked for")
    for name, inner in wanted.items():
        fit(value[name], inner, repr(name))


def obj(**properties: Schema) -> dict[str, Any]:
    """Return the schema of an object with exactly these keys.

    Args:
        **properties: name -> schema.
    """
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def choice(*words: str) -> dict[str, Any]:
    """Return the schema of one of some words.

    Args:
        *words: one or more.
    """
    return {"type": "string", "enum": list(words)}


def example(schema: Schema) -> str:
    """Return what an answer looks like, for the instructions to a model.

    Args:
        schema: what it must be.
    """
    kind = schema["type"]
    if kind == "object":
        return "{" + ", ".join(f'"{name}": {example(inner)}' for name, inner in schema["properties"].items()) + "}"
    if kind == "array":
        return f"[{example(schema['items'])}, ...]"
    if "enum" in schema:
        return " or ".join(json.dumps(word) for word in schema["enum"])
    if kind == "string":
        return '"..."'
    low, high = schema.get("minimum"), schema.get("maximum")
    return f"<{kind}>" if low is None or high is None else f"<{kind} from {low:g} to {high:g}>"
