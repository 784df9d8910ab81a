"""Metadata lines of GenEval from files that anyone wrote, checked field by field."""

from __future__ import annotations

from typing import Any

from verifiers.detect.grammar import tag_of
from verifiers.vlm.decompose import RELATIONS


def checked_line(data: Any, where: str) -> dict[str, Any]:
    """Return a metadata line, with a tag if it has none (Ghosh et al. 2023, arXiv:2310.11513).

    Args:
        data: what a line of the file holds: `prompt`, `include`, and optionally `tag` and `exclude`.
        where: file and line, for the error message.

    Raises:
        ValueError: for a field that is missing or unfit.
    """
    if not isinstance(data, dict) or not isinstance(data.get("prompt"), str) or not data["prompt"].strip():
        raise ValueError(f"{where}: there is no prompt; write a line as " + '{"prompt": "a photo of a cup", ...}')
    include = data.get("include")
    if not isinstance(include, list) or not include:
        raise ValueError(f"{where}: include is {include!r}; write it as [" + '{"class": "cup", "count": 1}]')
    for index, clause in enumerate([*include, *data.get("exclude", ())]):
        if problem := misfit(clause, index):
            raise ValueError(f"{where}: clause {index + 1} of {data['prompt']!r} is {clause!r}; {problem}")
    if "tag" in data and not isinstance(data["tag"], str):
        raise ValueError(f"{where}: the tag is {data['tag']!r}; write a word such as counting")
    return data if "tag" in data else {"tag": kind(include, data), **data}


def misfit(clause: Any, index: int) -> str:
    """Return the rule that a clause breaks, or nothing.

    Args:
        clause: an entry of `include` or `exclude`.
        index: its place; a position names an earlier one.
    """
    if not isinstance(clause, dict) or not isinstance(clause.get("class"), str) or not clause["class"]:
        return "it needs the name of a class"
    if type(clause.get("count")) is not int or clause["count"] < 1:
        return "its count must be a whole number of at least 1"
    if not isinstance(clause.get("color", ""), str):
        return "its color must be a word"
    if "position" not in clause:
        return ""
    place = clause["position"]
    fits = isinstance(place, list) and len(place) == 2 and place[0] in RELATIONS and type(place[1]) is int
    if not fits or not 0 <= place[1] < index:
        return f"its position must be one of {', '.join(RELATIONS)} and the index of an earlier clause"
    return ""


def kind(include: list[dict[str, Any]], data: dict[str, Any]) -> str:
    """Return the tag that GenEval's own file would give.

    Args:
        include: clauses.
        data: the whole line.
    """
    if any("position" in clause for clause in include):
        return "position"
    if data.get("exclude") or any(clause["count"] > 1 for clause in include):
        return "counting"
    return tag_of(include[:2])
