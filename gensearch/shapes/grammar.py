"""Prompts of the Shapes world in GenEval's phrasing: their metadata lines, and the parser that inverts them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from itertools import permutations, product
from typing import Any

from gensearch.shapes.drawing import COLORS, SHAPES

RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {2: "two", 3: "three", 4: "four"}

Clause = dict[str, Any]  # an entry of `include`: class, count, and optionally color, position or motion
Spec = dict[str, Any]  # a metadata line of GenEval: tag, include, exclude (optional) and prompt


# --- phrases


def plural(shape: str) -> str:
    """Return the plural of a class name.

    Args:
        shape: one of `SHAPES`.
    """
    return shape + ("es" if shape.endswith("s") else "s")


def article(word: str) -> str:
    """Return "a" or "an".

    Args:
        word: that follows.
    """
    return "an" if word[0] in "aeiou" else "a"


def phrase(clause: Clause) -> str:
    """Return a clause in words, such as "three red stars" or "an orange ring".

    Args:
        clause: an entry of `include`.
    """
    color = clause.get("color")
    if clause["count"] > 1:
        return " ".join(filter(None, (NUMBERS[clause["count"]], color, plural(clause["class"]))))
    words = " ".join(filter(None, (color, clause["class"])))
    return f"{article(words)} {words}"


# --- metadata lines


def clause(shape: str, color: str | None = None, count: int = 1, position: tuple[str, int] | None = None) -> Clause:
    """Return one entry of `include`, with only the fields that are set.

    Args:
        shape: one of `SHAPES`.
        color: one of `COLORS`.
        count: 1 to 4.
        position: a relation, and the index of the clause that it refers to.
    """
    out: Clause = {"class": shape, "count": count}
    if color:
        out["color"] = color
    if position:
        out["position"] = list(position)
    return out


def spec(tag: str, include: list[Clause]) -> Spec:
    """Return one metadata line of GenEval with its prompt; tags of counts exclude one object more.

    Args:
        tag: the kind of prompt.
        include: its clauses; for "position" the target first, then the subject.
    """
    out: Spec = {"tag": tag, "include": include}
    if tag in ("counting", "color_count"):
        out["exclude"] = [{"class": include[0]["class"], "count": include[0]["count"] + 1}]
    if tag == "position":
        target, subject = include
        text = f"{phrase(subject)} {subject['position'][0]} {phrase(target)}"
    else:
        text = " and ".join(phrase(clause) for clause in include)
    return out | {"prompt": f"a photo of {text}"}


def make_spec(tag: str, shapes: tuple[str, str], colors: list[str], relation: str, count: int) -> Spec:
    """Return the metadata line of a tag; choices that the tag does not use are ignored.

    Args:
        tag: the kind of prompt.
        shapes: of the first and the second object.
        colors: of the first and the second object.
        relation: of the first to the second object.
        count: of the first object, 2 to 4.
    """
    first, second = shapes
    include = {
        "single_object": lambda: [clause(first)],
        "colors": lambda: [clause(first, colors[0])],
        "two_object": lambda: [clause(first), clause(second)],
        "color_attr": lambda: [clause(first, colors[0]), clause(second, colors[1])],
        "position": lambda: [clause(second), clause(first, position=(relation, 0))],
        "counting": lambda: [clause(first, count=count)],
        "color_count": lambda: [clause(first, colors[0], count)],
    }[tag]()
    return spec(tag, include)


# --- parsing


@cache
def _lines() -> dict[str, Spec]:
    pairs, alone = list(permutations(SHAPES, 2)), [(shape, shape) for shape in SHAPES]
    one, two = ([list(colors) for colors in product(COLORS, repeat=n)] for n in (1, 2))
    choices: dict[str, tuple[Iterable[Any], ...]] = {
        "single_object": (alone, [[]], [""], [1]),
        "two_object": (pairs, [[]], [""], [1]),
        "counting": (alone, [[]], [""], NUMBERS),
        "colors": (alone, one, [""], [1]),
        "position": (pairs, [[]], RELATIONS, [1]),
        "color_attr": (pairs, two, [""], [1]),
        "color_count": (alone, one, [""], NUMBERS),
    }
    lines = (make_spec(tag, *choice) for tag, axes in choices.items() for choice in product(*axes))
    return {line["prompt"]: line for line in lines}


def parse(prompt: str) -> Spec:
    """Return the metadata line of a prompt: the inverse of `make_spec`.

    Args:
        prompt: of the grammar, letter by letter.

    Raises:
        ValueError: for a prompt outside the grammar, with the nearest one.
    """
    if prompt not in _lines():
        near = get_close_matches(prompt, _lines(), 1, 0.0)[0]
        raise ValueError(f"the Shapes world cannot read the prompt {prompt!r}; write for example {near!r}")
    return deepcopy(_lines()[prompt])


def lines() -> list[Spec]:
    """Return the metadata line of every prompt of the grammar."""
    return list(deepcopy(_lines()).values())
