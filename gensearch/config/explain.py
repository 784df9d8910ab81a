"""What a schema did not accept, in one line that names the field, the rule and the nearest known name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gensearch.core.errors import OUT_OF_RANGE, allowed, nearest

KINDS = {"bool", "int", "float", "str"}  # what pydantic adds to the place of a problem with one of several types


def explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problem that pydantic found, in one line; of a number that is not finite, that it is not.

    Args:
        error: What pydantic raised.
        schema: What was validated, for ranges and known names.
    """
    problems = error.errors()
    problem = next((p for p in problems if p["type"] == "finite_number"), problems[0])
    where = ".".join(str(part) for part in problem["loc"] if part not in KINDS)
    if problem["type"] == "extra_forbidden":
        *outer, key = problem["loc"]
        return f"unknown key {where!r}{nearest(str(key), known_keys(schema, outer))}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in OUT_OF_RANGE and where in schema.model_fields:
        message = allowed(schema.model_json_schema()["properties"][where])
    if problem["loc"][-1:] == ("bool",):  # the first of several kinds, of which none fits
        message = "it should be a number, a text, true, false or a list of such"
    value = repr(problem["input"])
    size = len(problem["input"]) if isinstance(problem["input"], str) else len(value)
    shown = value if len(value) <= 80 else f"{value[:60]}... ({size} characters)"
    return f"{where}: {message} (got {shown})" if where else message


def known_keys(schema: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Names that are known at a place within a schema; where it may have several forms, the place says which.

    Args:
        schema: What was validated.
        place: The fields and indices that lead there.
    """
    found = [schema]
    for part in place:
        fields = [model.model_fields[part] for model in found if part in model.model_fields]
        tagged = [model for model in found if any(f.default == part for f in model.model_fields.values())]
        found = [model for f in fields for model in models_of(f.annotation)] or tagged or found
    return [name for model in found for name in model.model_fields]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The schemas inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_of(argument)]
