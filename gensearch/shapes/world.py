"""The Shapes world: scenes of coloured shapes that show a prompt, the held-out split, and the benchmark."""

from __future__ import annotations

from functools import cache
from itertools import combinations, permutations, product

import numpy as np

from gensearch.shapes.drawing import COLORS as COLORS
from gensearch.shapes.drawing import SHAPES as SHAPES
from gensearch.shapes.drawing import SIZE as SIZE
from gensearch.shapes.drawing import Scene as Scene
from gensearch.shapes.drawing import Thing as Thing
from gensearch.shapes.drawing import render as render
from gensearch.shapes.grammar import NUMBERS as NUMBERS
from gensearch.shapes.grammar import RELATIONS as RELATIONS
from gensearch.shapes.grammar import Clause as Clause
from gensearch.shapes.grammar import Spec as Spec
from gensearch.shapes.grammar import clause as clause
from gensearch.shapes.grammar import lines as lines
from gensearch.shapes.grammar import make_spec as make_spec
from gensearch.shapes.grammar import parse as parse
from gensearch.shapes.grammar import phrase as phrase
from gensearch.shapes.grammar import plural as plural
from gensearch.shapes.grammar import spec as spec

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


# --- the split: two colours are held out of every shape and two shapes of every colour, two partners of every class

HELD_OUT_PAIRS = frozenset((SHAPES[i], list(COLORS)[(3 * i + k) % 8]) for i in range(8) for k in (1, 4))
HELD_OUT_CLASSES = frozenset(frozenset((SHAPES[i], SHAPES[(i + 3) % 8])) for i in range(8))


def is_held_out(things: tuple[tuple[str, str], ...]) -> bool:
    """Return whether a scene shows a held-out pair of colour and shape, or of two classes.

    Args:
        things: (shape, colour) of its objects.
    """
    shapes = {shape for shape, _ in things}
    return any(thing in HELD_OUT_PAIRS for thing in things) or any(
        frozenset(pair) in HELD_OUT_CLASSES for pair in combinations(shapes, 2)
    )


def asks_held_out(line: Spec) -> bool:
    """Return whether a prompt names a held-out pair of colour and shape, or of two classes.

    Args:
        line: its metadata line.
    """
    return is_held_out(tuple((c["class"], c.get("color", "")) for c in line["include"]))


# --- layout


def background(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw a light, slightly tinted background, RGB in [0, 255].

    Args:
        rng: source of randomness.
    """
    base = int(rng.integers(225, 251))
    red, green, blue = (int(np.clip(base + rng.integers(-6, 7), 0, 255)) for _ in range(3))
    return red, green, blue


def place(rng: np.random.Generator, count: int, relation: str | None = None) -> list[tuple[float, float, float]]:
    """Draw (x, y, radius) in pixels of objects that are at least two pixels apart.

    The margins of relations exceed those of GenEval's rule, so a clean render is never ambiguous.

    Args:
        rng: source of randomness.
        count: number of objects, 1 to 5.
        relation: of the first object to the second one.
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
    """Return whether object 0 is clearly in a relation to object 1.

    Args:
        xs: x of the centres in pixels, [n].
        ys: y of the centres in pixels, down, [n].
        radii: in pixels, [n].
        relation: one of `RELATIONS`.
    """
    dx, dy = xs[0] - xs[1], ys[0] - ys[1]
    along, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[relation]
    return bool(along > radii[0] + radii[1] + 1 and along > 1.2 * abs(across))


# --- sampling


def sample(rng: np.random.Generator, tag: str | None = None) -> tuple[Spec, Scene]:
    """Draw a training prompt and a scene that shows it, without any held-out pair.

    Args:
        rng: source of randomness.
        tag: the kind of prompt; drawn from `TRAIN_MIX` by default.
    """
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


def members(line: Spec, colors: list[str], same_color: bool = False) -> list[tuple[str, str]]:
    """Return (shape, colour) of every object that a prompt asks for.

    Args:
        line: the metadata line of the prompt.
        colors: four colours for objects whose colour is not given.
        same_color: whether counted objects share the first of them.
    """
    shapes = [c["class"] for c in line["include"] for _ in range(c["count"])]
    asked = [c.get("color") for c in line["include"] for _ in range(c["count"])]
    free = [colors[0]] * 4 if same_color and line["tag"] == "counting" else colors
    return [(shape, color or other) for shape, color, other in zip(shapes, asked, free, strict=False)]


def arrange(rng: np.random.Generator, line: Spec, things: list[tuple[str, str]]) -> Scene:
    """Place objects so that the scene shows the prompt.

    Args:
        rng: source of randomness.
        line: the metadata line of the prompt.
        things: (shape, colour) of its objects, in the order of the clauses.
    """
    if line["tag"] == "position":
        things = things[::-1]  # the subject of the relation first
        spots = place(rng, 2, line["include"][1]["position"][0])
    else:
        spots = place(rng, len(things))
    drawn = tuple(Thing(*thing, *spot) for thing, spot in zip(things, spots, strict=True))
    return Scene(drawn, background(rng))


def scene_for(line: Spec, rng: np.random.Generator) -> Scene:
    """Draw a scene that shows any prompt of the grammar, including held-out ones.

    Args:
        line: the metadata line of the prompt.
        rng: source of randomness.
    """
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
    """Return the metadata lines of GenEval-Shapes, built from held-out pairs.

    Single objects and counts have no pair to hold out, so these two tags hold every class and number.

    Args:
        per_tag: most prompts of each tag.
    """
    chosen: list[Spec] = []
    for tag in TAGS:
        candidates = _held_out_lines()[tag]
        keep = np.random.default_rng(7).permutation(len(candidates))[:per_tag]
        chosen += [candidates[i] for i in sorted(keep)]
    return chosen
