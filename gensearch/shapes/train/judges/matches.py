"""Labels of contrastive training: which prompts a scene shows, computed from the scene itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gensearch.shapes import world

ANY = len(world.COLORS)  # index of "any colour" in the count table
SHAPE = {name: i for i, name in enumerate(world.SHAPES)}
COLOR = {name: i for i, name in enumerate(world.COLORS)} | {None: ANY}
RELATION = {name: i for i, name in enumerate(world.RELATIONS)}


class Facts(NamedTuple):
    """The contents of n scenes.

    Attributes:
        counts: of objects, int64 [n, 8 shapes, 9], where the last of the colours counts all of them.
        relations: of the objects of two classes, bool [n, 8, 8, 4].
    """

    counts: np.ndarray
    relations: np.ndarray


def facts(scenes: Sequence[Sequence[world.Thing]]) -> Facts:
    """Tabulate the well-formed objects of each scene; relations are used only for classes that occur once."""
    counts = np.zeros((len(scenes), 8, ANY + 1), np.int64)
    relations = np.zeros((len(scenes), 8, 8, 4), bool)
    for row, things in enumerate(scenes):
        for thing in things:
            counts[row, SHAPE[thing.shape], [COLOR[thing.color], ANY]] += 1
        for a in things:
            for b in things:
                if a.shape != b.shape:
                    relations[row, SHAPE[a.shape], SHAPE[b.shape]] = related(a, b)
    return Facts(counts, relations)


def related(a: world.Thing, b: world.Thing) -> list[bool]:
    """Return GenEval's position rule for two objects, one answer per relation of `world.RELATIONS`."""
    offset = np.array([a.x - b.x, a.y - b.y])
    reach = np.maximum(np.abs(offset) - 0.2 * (a.radius + b.radius), 0) * np.sign(offset)
    dx, dy = reach / max(float(np.hypot(*offset)), 1e-6)
    return [dx < -0.5, dx > 0.5, dy < -0.5, dy > 0.5]


def matches(facts: Facts, lines: Sequence[world.Spec]) -> np.ndarray:
    """Return whether each scene shows each prompt under GenEval's rules, bool [scenes, prompts]."""
    out = np.ones((len(facts.counts), len(lines)), bool)
    for column, line in enumerate(lines):
        for clause in line["include"]:
            out[:, column] &= shown(facts, clause) >= clause["count"]
            if "position" in clause:
                relation, target = clause["position"]
                other = SHAPE[line["include"][target]["class"]]
                out[:, column] &= facts.relations[:, SHAPE[clause["class"]], other, RELATION[relation]]
        for clause in line.get("exclude", ()):
            out[:, column] &= shown(facts, clause) < clause["count"]
    return out


def shown(facts: Facts, clause: world.Clause) -> np.ndarray:
    """Return the number of objects of the clause's class and colour in each scene, [n]."""
    return facts.counts[:, SHAPE[clause["class"]], COLOR[clause.get("color")]]


def near_misses(rng: np.random.Generator, line: world.Spec, count: int) -> list[world.Spec]:
    """Return prompts that differ in one colour, class, number or relation, or in the binding of attributes.

    None names a held-out pair: a pair that occurs in negatives only would be learnt as wrong.
    """
    return taught(partial(near_miss, rng, line), count)


def taught(draw: Callable[[], world.Spec], count: int) -> list[world.Spec]:
    """Return the first drawn prompts without held-out pairs, which may be trained on."""
    found: list[world.Spec] = []
    while len(found) < count:
        other = draw()
        if not world.asks_held_out(other):
            found.append(other)
    return found


def near_miss(rng: np.random.Generator, line: world.Spec) -> world.Spec:
    """Return one prompt that differs from `line` in one attribute."""
    include = [dict(clause) for clause in line["include"]]
    clause = include[int(rng.integers(len(include)))]
    options = ["class"]
    options += ["color"] * 2 if "color" in clause else []
    options += ["count"] * 3 if line["tag"] in ("counting", "color_count") else []
    options += ["position"] * 3 if line["tag"] == "position" else []
    options += ["swap"] * 2 if line["tag"] in ("position", "color_attr") else []
    match str(rng.choice(options)):
        case "class":
            taken = {c["class"] for c in include}
            clause["class"] = str(rng.choice([s for s in world.SHAPES if s not in taken]))
        case "color":
            clause["color"] = str(rng.choice([c for c in world.COLORS if c != clause["color"]]))
        case "count":
            clause["count"] = int(rng.choice([n for n in world.NUMBERS if n != clause["count"]]))
        case "position":
            old = include[1]["position"][0]
            include[1]["position"] = [str(rng.choice([r for r in world.RELATIONS if r != old])), 0]
        case "swap":
            include[0]["class"], include[1]["class"] = include[1]["class"], include[0]["class"]
    return world.spec(line["tag"], include)
