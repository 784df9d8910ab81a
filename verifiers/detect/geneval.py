"""GenEval's rules as pure functions over detections (Ghosh et al. 2023, arXiv:2310.11513).

Any detector and any colour classifier can feed them: Mask2Former with CLIP for photographs, a classical one for
the Shapes world. A metadata line is a dict with `tag`, `prompt`, `include` (clauses of `class`, `count` and maybe
`color` or `position: [relation, index of the target clause]`) and maybe `exclude`. Boxes are (x1, y1, x2, y2) in
pixels of the picture, y down, right and bottom edges exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np

Box = tuple[float, float, float, float]
Image = np.ndarray  # uint8 [h, w, 3], RGB
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Detection:
    """One object that a detector found; `mask` is bool [h, w], `color` a name if the detector knows it."""

    box: Box
    score: float
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)
    color: str | None = None


class Detector(Protocol):
    """Finds objects in pictures."""

    def detect(self, image: Image) -> Mapping[str, Sequence[Detection]]:
        """Class name -> detections in a uint8 [h, w, 3] picture, unfiltered and in any order."""
        ...


# (picture, class name, its detections) -> one colour name each, None for "no colour of the list"
ColorClassifier = Callable[[Image, str, Sequence[Detection]], Sequence[str | None]]


@dataclass(frozen=True)
class Rules:
    """Thresholds; the defaults are GenEval's."""

    threshold: float = 0.3  # scores must exceed it
    counting_threshold: float = 0.9  # the same for the tag `counting`
    max_objects: int = 16  # per class
    max_overlap: float = 1.0  # overlap from which the less certain box goes; 1 switches the suppression off
    margin: float = 0.1  # share of both sizes by which centres must differ along an axis to count at all


GENEVAL = Rules()


class Verdict(NamedTuple):
    """Whether a picture shows what the line asks for, and every reason why not."""

    correct: bool
    reasons: tuple[str, ...]


def detected_color(image: Image, name: str, detections: Sequence[Detection]) -> list[str | None]:
    """The colour classifier for detectors that report colours themselves."""
    return [d.color for d in detections]


def judge(
    image: Image, line: Line, detector: Detector, classify: ColorClassifier = detected_color, rules: Rules = GENEVAL
) -> Verdict:
    """Detect, filter and decide: the verdict on one uint8 [h, w, 3] picture."""
    return verdict(image, line, keep(detector.detect(image), line["tag"], rules), classify, rules)


# --- filtering


def keep(found: Mapping[str, Sequence[Detection]], tag: str, rules: Rules = GENEVAL) -> dict[str, list[Detection]]:
    """The detections that count for a tag, most certain first within each class."""
    limit = rules.counting_threshold if tag == "counting" else rules.threshold
    kept = {}
    for name, detections in found.items():
        certain = sorted((d for d in detections if d.score > limit), key=lambda d: -d.score)[: rules.max_objects]
        kept[name] = certain if rules.max_overlap >= 1 else suppress(certain, rules.max_overlap)
    return kept


def suppress(detections: Sequence[Detection], max_overlap: float) -> list[Detection]:
    """Walk down the list and drop every box that overlaps a kept one by `max_overlap` or more."""
    kept: list[Detection] = []
    for d in detections:
        if all(overlap(d.box, other.box) < max_overlap for other in kept):
            kept.append(d)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; GenEval's own counts one pixel more per side."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


# --- positions


def relations(a: Box, b: Box, margin: float = 0.1) -> frozenset[str]:
    """In which of the four relations box `a` stands to box `b`: none, one, or two at a diagonal.

    Each axis of the offset between the centres is first shortened by `margin` of both sizes and then compared
    with half the length of the whole offset.
    """
    corners = np.array([a, b], dtype=np.float64).reshape(2, 2, 2)  # box, corner, axis
    offset = corners[0].mean(0) - corners[1].mean(0)
    sizes = (corners[:, 1] - corners[:, 0]).sum(0)
    rest = np.sign(offset) * np.maximum(np.abs(offset) - margin * sizes, 0)
    if np.all(np.abs(rest) < 1e-3):
        return frozenset()
    dx, dy = rest / np.linalg.norm(offset)
    holds = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return frozenset(name for name, true in holds.items() if true)


# --- verdict


def verdict(
    image: Image,
    line: Line,
    found: Mapping[str, Sequence[Detection]],
    classify: ColorClassifier = detected_color,
    rules: Rules = GENEVAL,
) -> Verdict:
    """Check every clause of a line against filtered detections (most certain first); all reasons are collected.

    A clause looks only at the `count` most certain objects of its class: a less certain one of the right colour
    does not help.
    """
    reasons: list[str] = []
    matched: list[Sequence[Detection] | None] = []
    for clause in line["include"]:
        group = found.get(clause["class"], ())[: clause["count"]]
        problem = (
            missing(clause, group)
            or miscolored(clause, group, image, classify)
            or misplaced(clause, group, line["include"], matched, rules.margin)
        )
        reasons += [problem] if problem else []
        matched.append(None if problem else group)
    for clause in line.get("exclude", ()):
        count = len(found.get(clause["class"], ()))
        if count >= clause["count"]:
            reasons.append(f"expected fewer than {clause['count']} {clause['class']}, found {count}")
    return Verdict(not reasons, tuple(reasons))


def missing(clause: Line, group: Sequence[Detection]) -> str | None:
    """Why there are too few objects of the class."""
    if len(group) < clause["count"]:
        return f"expected at least {clause['count']} {clause['class']}, found {len(group)}"
    return None


def miscolored(clause: Line, group: Sequence[Detection], image: Image, classify: ColorClassifier) -> str | None:
    """Why the objects do not have the colour that the clause names."""
    if "color" not in clause:
        return None
    colors = list(classify(image, clause["class"], group))
    if colors.count(clause["color"]) < clause["count"]:
        seen = ", ".join(color or "no known colour" for color in colors)
        return f"expected {clause['count']} {clause['color']} {clause['class']}, found {seen}"
    return None


def misplaced(
    clause: Line,
    group: Sequence[Detection],
    include: Sequence[Line],
    matched: Sequence[Sequence[Detection] | None],
    margin: float,
) -> str | None:
    """Why some pair of an object and a target does not stand in the relation that the clause names."""
    if "position" not in clause:
        return None
    relation, index = clause["position"]
    name, target = clause["class"], include[index]["class"]
    targets = matched[index]
    if targets is None:
        return f"there is no {target} for {name} to be {relation}"
    for a, b in product(group, targets):
        true = relations(a.box, b.box, margin)
        if relation not in true:
            return f"expected {name} {relation} {target}, found {' and '.join(sorted(true)) or 'no clear relation'}"
    return None
