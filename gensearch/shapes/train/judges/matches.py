"""Which prompts a scene fulfils, read off the scene itself: the labels of contrastive training."""

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
    """What scenes show: counts [n, 8 shapes, 9 colours], relations [n, 8, 8, 4] of the one pair of each class."""

    counts: np.ndarray
    relations: np.ndarray


def facts(scenes: Sequence[Sequence[world.Thing]]) -> Facts:
    """Tabulate the well-formed things of each scene; relations hold only between classes that occur once."""
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
    """GenEval's position rule for two things, one answer per relation of `world.RELATIONS`."""
    offset = np.array([a.x - b.x, a.y - b.y])
    reach = np.maximum(np.abs(offset) - 0.2 * (a.radius + b.radius), 0) * np.sign(offset)
    dx, dy = reach / max(float(np.hypot(*offset)), 1e-6)
    return [dx < -0.5, dx > 0.5, dy < -0.5, dy > 0.5]


def matches(facts: Facts, lines: Sequence[world.Spec]) -> np.ndarray:
    """Boolean [scenes, prompts]: the scene fulfils the prompt under GenEval's rules."""
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
    """[n] how many things of the clause's class and colour each scene shows."""
    return facts.counts[:, SHAPE[clause["class"]], COLOR[clause.get("color")]]


def near_misses(rng: np.random.Generator, line: world.Spec, count: int) -> list[world.Spec]:
    """Prompts that differ from `line` in one thing: a colour, a class, a number, a relation, or the binding.

    None names a held-out pair: words that are only ever seen as wrong would be learnt as wrong.
    """
    return taught(partial(near_miss, rng, line), count)


def taught(draw: Callable[[], world.Spec], count: int) -> list[world.Spec]:
    """Prompts that may be trained on: the first of those drawn that name no held-out pair."""
    found: list[world.Spec] = []
    while len(found) < count:
        other = draw()
        if not world.asks_held_out(other):
            found.append(other)
    return found


def near_miss(rng: np.random.Generator, line: world.Spec) -> world.Spec:
    """One prompt that is almost `line`."""
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
