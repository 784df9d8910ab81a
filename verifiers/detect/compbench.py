"""T2I-CompBench's rules for places, depth and numbers, as pure functions over boxes (Huang et al. 2023/2025).

arXiv:2307.06350 and its extension. Boxes are (x1, y1, x2, y2) in pixels, y down. `upstream=True` reproduces what the
authors' code does and the papers do not say; each function names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from verifiers.detect.geneval import Box, Detection
from verifiers.vlm.decompose import NUMBERS as DECOMPOSED
from verifiers.vlm.noun_chunks import noun_chunks

LOCALITIES = (  # the first that a prompt holds is its relation
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
DEPTHS = ("in front of", "behind", "hidden by")
NEAR = 150.0  # pixels, where the longer side of the picture has about 480
SIDES = (479, 480)  # pixels: the shorter side, and the most that the longer one may have
LEAST = 0.5  # places: scores below it become 0
SEPARATE = 0.1  # intersection over union below which two objects are beside each other
DUPLICATE = 0.9
NUMBERS = {word: n for n, word in enumerate(("one", *DECOMPOSED[:7]), 1)} | {"a": 1, "an": 1}
ALIASES = dict.fromkeys(("boy", "girl", "man", "woman"), "person")
ALIASES |= {"ship": "boat", "telivision": "tv", "goldfish": "fish", "painting": "picture"}


class Relation(NamedTuple):
    """What a prompt says of two objects.

    Attributes:
        first: name of the first object.
        words: of `LOCALITIES` or `DEPTHS`; empty for none of them.
        second: name of the second object.
    """

    first: str
    words: str
    second: str


def relation(prompt: str, known: Sequence[str] = LOCALITIES) -> Relation:
    """Return the two objects of a prompt and their relation.

    Objects are the last words of the first noun phrase of the prompt and of the first one after the relation, or of the
    first and last phrase where there is none of the known relations; boys, girls, men and women are persons.

    Args:
        prompt: such as "a bee on the left of a clock".
        known: relations, in the order in which they are looked for.

    Raises:
        ValueError: for a prompt without two noun phrases.
    """
    text = " ".join(prompt.lower().split())
    words = next((words for words in known if re.search(rf"\b{words}\b", text)), "")
    before, after = re.split(rf"\b{words}\b", text, maxsplit=1) if words else (text, text)
    heads = [[chunk.split()[-1] for chunk in noun_chunks(part)] for part in (before, after)]
    if not all(heads) or (not words and len(heads[0]) < 2):
        raise ValueError(f"the prompt {prompt!r} does not relate two objects; write one as 'a bee next to a clock'")
    return Relation(person(heads[0][0]), words, person(heads[1][0 if words else -1]))


def person(name: str) -> str:
    """Return "person" for boy, girl, man and woman, and any other name as it is.

    Args:
        name: of an object.
    """
    return "person" if ALIASES.get(name) == "person" else name


def overlap(a: Box, b: Box, edge: float = 0.0) -> tuple[float, float, float]:
    """Return the intersection of two boxes over their union, over the first box and over the second one.

    Args:
        a: a box.
        b: another one.
        edge: pixels that are added to each width and height.
    """
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + edge for i in (0, 1)]
    shared = max(0.0, sides[0]) * max(0.0, sides[1])
    first, second = ((box[2] - box[0] + edge) * (box[3] - box[1] + edge) for box in (a, b))
    return tuple(shared / size if size > 0 else 0.0 for size in (first + second - shared, first, second))  # type: ignore[return-value]


def position(words: str, a: Box, b: Box, *, upstream: bool = True) -> float:
    """Return how far two boxes stand in a relation of the plane, in [0, 1].

    Args:
        words: of `LOCALITIES`; others give 0.
        a: the first object, in a picture whose longer side has about 480 pixels.
        b: the second one.
        upstream: "on top of" always gives 0, since the authors' code has no branch for it; otherwise it is the same
            as "on the top of".
    """
    dx, dy = ((b[i] + b[i + 2] - a[i] - a[i + 2]) / 2 for i in (0, 1))
    if words in LOCALITIES[:3]:
        return 1.0 if abs(dx) < NEAR or abs(dy) < NEAR else NEAR / max(abs(dx), abs(dy))
    if words == "on top of" and not upstream:
        words = "on the top of"
    along = {
        "on the left of": dx > 0 and abs(dx) > abs(dy),
        "on the right of": dx < 0 and abs(dx) > abs(dy),
        "on the bottom of": dy < 0 and abs(dy) > abs(dx),
        "on the top of": dy > 0 and abs(dy) > abs(dx),
    }.get(words, False)
    union = overlap(a, b)[0]
    return float(along) if union < SEPARATE else along * SEPARATE / union


def in_depth(words: str, a: Box, b: Box, depth: np.ndarray, *, upstream: bool = True) -> float:
    """Return how far two boxes stand in a relation of depth, in [0, 1].

    Args:
        words: of `DEPTHS`; others give 0.
        a: the first object.
        b: the second one.
        depth: of the pixels of the same picture, larger is nearer [h, w].
        upstream: rows of the depth map are looked up by x and columns by y, as in the authors' code.
    """
    if words not in DEPTHS:
        return 0.0
    near, far = (mean_depth(depth, box, upstream) for box in (a, b))
    union = overlap(a, b)[0]
    if not (near > far if words == "in front of" else near < far) or union == LEAST:
        return 0.0
    return 1.0 if union > LEAST else union / LEAST


def mean_depth(depth: np.ndarray, box: Box, transposed: bool) -> float:
    """Return the mean of a depth map inside a box; NaN if nothing of the map is inside.

    Args:
        depth: larger is nearer [h, w].
        box: in pixels of the map.
        transposed: whether rows are looked up by x.
    """
    x1, y1, x2, y2 = (max(0, int(edge)) for edge in box)
    inside = depth[x1:x2, y1:y2] if transposed else depth[y1:y2, x1:x2]
    return float(inside.mean(dtype=np.float64)) if inside.size else float("nan")


def blend(first: float | None, second: float | None, held: float, *, cut: bool = True) -> float:
    """Return the score of a relation: (c1 + c2) / 4 + position / 2, c / 4 with one object, 0 with none.

    Args:
        first: certainty of the first object in [0, 1]; None if it was not found.
        second: of the second one.
        held: how far the relation holds, in [0, 1].
        cut: whether scores below 0.5 become 0, as for places; not so for depth.
    """
    score = ((first or 0.0) + (second or 0.0)) / 4
    if first is not None and second is not None:
        score += held / 2
    return 0.0 if cut and score < LEAST else score


def pair(
    found: Mapping[str, Sequence[Detection]], asked: Relation, *, upstream: bool = True
) -> tuple[Detection | None, Detection | None]:
    """Return the most certain object of each name; None where there is none.

    Args:
        found: name -> detections in any order.
        asked: the names.
        upstream: two objects of one name are the same detection, as in the authors' code; otherwise the second is the
            next certain one.
    """
    ranked = {name: sorted(own, key=lambda d: -d.score) for name, own in found.items()}
    first, second = ranked.get(asked.first, []), ranked.get(asked.second, [])
    if asked.first == asked.second and not upstream:
        second = second[1:]
    return next(iter(first), None), next(iter(second), None)


def without_duplicates(found: Sequence[Detection]) -> list[Detection]:
    """Return detections of one name, the most certain first, without those that a more certain one covers.

    Two boxes are one object if their intersection over union, or over one of them, is above 0.9; sizes count both edge
    pixels.

    Args:
        found: in any order.
    """
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(max(overlap(one.box, other.box, edge=1)) <= DUPLICATE for other in kept):
            kept.append(one)
    return kept


def counts(prompt: str, plurals: Mapping[str, str]) -> dict[str, int]:
    """Return how many of each object a prompt asks for, in its order; several mentions of one object add up.

    Args:
        prompt: such as "four tents, two boats and one pig".
        plurals: plural -> singular of the known objects.

    Raises:
        ValueError: if no known object is counted.
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    known = {**plurals, **{name: name for name in plurals.values()}}
    found: dict[str, int] = {}
    number = 0
    for word in words:
        if word in NUMBERS:
            number = NUMBERS[word]
        elif number and word in known:
            name = ALIASES.get(known[word], known[word])
            found[name] = found.get(name, 0) + number
            number = 0
    if not found:
        raise ValueError(f"the prompt {prompt!r} counts no known object; write one as 'two dogs and a cat'")
    return found


def numeracy(seen: Mapping[str, int], asked: Mapping[str, int]) -> float:
    """Return the mean over objects of half a point for being there and half a point for the exact number.

    Args:
        seen: name -> how many were found.
        asked: name -> how many there should be, one or more names.
    """
    points = [((seen.get(name, 0) > 0) + (seen.get(name, 0) == count)) / 2 for name, count in asked.items()]
    return sum(points) / len(points)


def scale(height: int, width: int) -> float:
    """Return the factor by which the authors' detector resizes a picture.

    Args:
        height: in pixels.
        width: in pixels.
    """
    return min(SIDES[0] / min(height, width), SIDES[1] / max(height, width))
