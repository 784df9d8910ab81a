"""The Shapes world: scenes of coloured shapes, their prompts in GenEval's phrasing, and the held-out split."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from itertools import combinations, permutations, product
from typing import Any

import numpy as np

from gensearch.shapes.drawing import COLORS as COLORS
from gensearch.shapes.drawing import SHAPES as SHAPES
from gensearch.shapes.drawing import SIZE as SIZE
from gensearch.shapes.drawing import Scene as Scene
from gensearch.shapes.drawing import Thing as Thing
from gensearch.shapes.drawing import render as render

RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {2: "two", 3: "three", 4: "four"}
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
TRAIN_MIX = {
    "single_object": 0.05,
    "two_object": 0.17,
    "counting": 0.20,
    "colors": 0.08,
    "position": 0.22,
    "color_attr": 0.20,
    "color_count": 0.08,
}

Clause = dict[str, Any]
Spec = dict[str, Any]


# --- the split: every shape and every colour loses two partners, every class loses two neighbours

HELD_OUT_PAIRS = frozenset((SHAPES[i], list(COLORS)[(3 * i + k) % 8]) for i in range(8) for k in (1, 4))
HELD_OUT_CLASSES = frozenset(frozenset((SHAPES[i], SHAPES[(i + 3) % 8])) for i in range(8))


def is_held_out(things: tuple[tuple[str, str], ...]) -> bool:
    """True if a scene of these (shape, colour) objects shows a held-out colour-shape or class pair."""
    shapes = {shape for shape, _ in things}
    return any(thing in HELD_OUT_PAIRS for thing in things) or any(
        frozenset(pair) in HELD_OUT_CLASSES for pair in combinations(shapes, 2)
    )


def asks_held_out(line: Spec) -> bool:
    """True if the words of a prompt name a held-out colour-shape or class pair."""
    return is_held_out(tuple((c["class"], c.get("color", "")) for c in line["include"]))


# --- layout


def background(rng: np.random.Generator) -> tuple[int, int, int]:
    """A light, slightly tinted background."""
    base = int(rng.integers(225, 251))
    return tuple(int(np.clip(base + rng.integers(-6, 7), 0, 255)) for _ in range(3))  # type: ignore[return-value]


def place(rng: np.random.Generator, count: int, relation: str | None = None) -> list[tuple[float, float, float]]:
    """Draw (x, y, radius) of objects that keep two pixels apart; with a relation the first two obey it.

    The relation margins exceed GenEval's rule by a safe distance, so a clean render is never ambiguous.
    """
    low, high = (9.0, 13.5) if count <= 2 else (8.0, 10.5)
    while True:
        radii = rng.uniform(low, high, count)
        xs, ys = (rng.uniform(radii + 1, SIZE - radii - 1) for _ in range(2))
        gaps = np.maximum(
            np.abs(xs[:, None] - xs[None]) - radii[:, None] - radii[None],
            np.abs(ys[:, None] - ys[None]) - radii[:, None] - radii[None],
        )
        if np.all(gaps[~np.eye(count, dtype=bool)] >= 2) and (relation is None or obeys(xs, ys, radii, relation)):
            return list(zip(xs.tolist(), ys.tolist(), radii.tolist(), strict=True))


def obeys(xs: np.ndarray, ys: np.ndarray, radii: np.ndarray, relation: str) -> bool:
    """Whether object 0 clearly stands in `relation` to object 1."""
    dx, dy = xs[0] - xs[1], ys[0] - ys[1]
    along, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[relation]
    return bool(along > radii[0] + radii[1] + 1 and along > 1.2 * abs(across))


# --- prompts


def plural(shape: str) -> str:
    """The plural of a class name."""
    return shape + ("es" if shape.endswith("s") else "s")


def article(word: str) -> str:
    """`a` or `an`."""
    return "an" if word[0] in "aeiou" else "a"


def phrase(clause: Clause) -> str:
    """A clause in words: "three red stars", "an orange ring"."""
    color = clause.get("color")
    if clause["count"] > 1:
        return " ".join(filter(None, (NUMBERS[clause["count"]], color, plural(clause["class"]))))
    words = " ".join(filter(None, (color, clause["class"])))
    return f"{article(words)} {words}"


def spec(tag: str, include: list[Clause]) -> Spec:
    """One line of GenEval's metadata schema: tag, include, exclude (counting only) and the prompt."""
    out: Spec = {"tag": tag, "include": include}
    if tag in ("counting", "color_count"):
        out["exclude"] = [{"class": include[0]["class"], "count": include[0]["count"] + 1}]
    if tag == "position":
        target, subject = include
        text = f"{phrase(subject)} {subject['position'][0]} {phrase(target)}"
    else:
        text = " and ".join(phrase(clause) for clause in include)
    return out | {"prompt": f"a photo of {text}"}


def clause(shape: str, color: str | None = None, count: int = 1, position: tuple[str, int] | None = None) -> Clause:
    """One entry of `include`, with only the fields that are set."""
    out: Clause = {"class": shape, "count": count}
    if color:
        out["color"] = color
    if position:
        out["position"] = list(position)
    return out


# --- reading prompts


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
    """The metadata line of any prompt that the grammar can make, the inverse of `make_spec`; ValueError for others."""
    if prompt not in _lines():
        near = get_close_matches(prompt, _lines(), 1, 0.0)[0]
        raise ValueError(f"the Shapes world cannot read the prompt {prompt!r}; write for example {near!r}")
    return deepcopy(_lines()[prompt])


def lines() -> list[Spec]:
    """The metadata line of every prompt of the grammar."""
    return list(deepcopy(_lines()).values())


# --- sampling


def sample(rng: np.random.Generator, tag: str | None = None) -> tuple[Spec, Scene]:
    """Draw a training prompt with a scene that shows it; nothing held out ever appears."""
    tag = tag or str(rng.choice(list(TRAIN_MIX), p=list(TRAIN_MIX.values())))
    while True:
        first, second = (SHAPES[i] for i in rng.choice(8, 2, replace=False))
        colors = [str(rng.choice(list(COLORS))) for _ in range(4)]
        relation = str(rng.choice(RELATIONS))
        count = int(rng.integers(2, 5))
        line = make_spec(tag, (first, second), colors, relation, count)
        things = members(line, colors, same_color=rng.random() < 0.5)
        if not is_held_out(tuple(things)):
            return line, arrange(rng, line, things)


def make_spec(tag: str, shapes: tuple[str, str], colors: list[str], relation: str, count: int) -> Spec:
    """The prompt of a tag from its free choices; choices that the tag does not use are ignored."""
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


def members(line: Spec, colors: list[str], same_color: bool = False) -> list[tuple[str, str]]:
    """(shape, colour) of every object that the prompt asks for; colours it leaves open come from `colors`."""
    shapes = [c["class"] for c in line["include"] for _ in range(c["count"])]
    asked = [c.get("color") for c in line["include"] for _ in range(c["count"])]
    free = [colors[0]] * 4 if same_color and line["tag"] == "counting" else colors
    return [(shape, color or other) for shape, color, other in zip(shapes, asked, free, strict=False)]


def arrange(rng: np.random.Generator, line: Spec, things: list[tuple[str, str]]) -> Scene:
    """Place the objects of a prompt so that the picture fulfils it."""
    if line["tag"] == "position":
        things = things[::-1]  # the subject of the relation first
        spots = place(rng, 2, line["include"][1]["position"][0])
    else:
        spots = place(rng, len(things))
    drawn = tuple(Thing(*thing, *spot) for thing, spot in zip(things, spots, strict=True))
    return Scene(drawn, background(rng))


def scene_for(line: Spec, rng: np.random.Generator) -> Scene:
    """A clean scene that fulfils any prompt of the grammar, held-out ones included."""
    return arrange(rng, line, members(line, [str(rng.choice(list(COLORS))) for _ in range(4)]))


# --- the benchmark


@cache
def _held_out_lines() -> dict[str, list[Spec]]:
    pairs = sorted(HELD_OUT_PAIRS)
    classes = [p for p in permutations(SHAPES, 2) if frozenset(p) in HELD_OUT_CLASSES]
    attributed = [
        spec("color_attr", [clause(*a), clause(*b)]) for a, b in product(pairs, pairs) if a[0] != b[0] and a[1] != b[1]
    ]
    return {
        "single_object": [spec("single_object", [clause(s)]) for s in SHAPES],
        "two_object": [spec("two_object", [clause(a), clause(b)]) for a, b in classes],
        "counting": [spec("counting", [clause(s, count=n)]) for s in SHAPES for n in NUMBERS],
        "colors": [spec("colors", [clause(s, c)]) for s, c in pairs],
        "position": [
            spec("position", [clause(b), clause(a, position=(r, 0))]) for (a, b), r in product(classes, RELATIONS)
        ],
        "color_attr": attributed,
    }


def benchmark(per_tag: int = 48) -> list[Spec]:
    """The GenEval-Shapes prompts: at most `per_tag` of each tag, built from held-out combinations.

    Single objects and counts have no combination to hold out, so those two tags hold every class and number.
    """
    chosen: list[Spec] = []
    for tag in TAGS:
        lines = _held_out_lines()[tag]
        keep = np.random.default_rng(7).permutation(len(lines))[:per_tag]
        chosen += [lines[i] for i in sorted(keep)]
    return chosen
