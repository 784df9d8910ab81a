"""GenEval's rules as pure functions over detections (Ghosh et al. 2023, arXiv:2310.11513).

They work with any detector and any colour classifier: Mask2Former with CLIP for photographs, a classical detector for
the Shapes world. A metadata line is a dict with `tag`, `prompt`, `include` (clauses of `class`, `count` and optionally
`color` or `position: [relation, index of the target clause]`) and optionally `exclude`. Boxes are (x1, y1, x2, y2) in
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
    """One detected object.

    Attributes:
        box: (x1, y1, x2, y2) in pixels.
        score: confidence of the detector, in [0, 1].
        mask: bool [h, w], if the detector segments.
        color: the name of its colour, if the detector classifies colours.
    """

    box: Box
    score: float
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)
    color: str | None = None


class Detector(Protocol):
    """An object detector."""

    def detect(self, image: Image) -> Mapping[str, Sequence[Detection]]:
        """Return class name -> detections, unfiltered and in any order.

        Args:
            image: uint8 [h, w, 3], RGB.
        """
        ...


# (picture, class name, its detections) -> one colour name each, None for "no colour of the list"
ColorClassifier = Callable[[Image, str, Sequence[Detection]], Sequence[str | None]]


@dataclass(frozen=True)
class Rules:
    """Thresholds; the defaults are GenEval's.

    Attributes:
        threshold: detections count if their score exceeds it, in [0, 1].
        counting_threshold: the same for the tag `counting`.
        max_objects: most objects of one class.
        max_overlap: intersection over union from which the less certain box is suppressed; 1 suppresses none.
        margin: share of both sizes by which the offset of two centres along an axis is shortened, at least 0.
    """

    threshold: float = 0.3
    counting_threshold: float = 0.9
    max_objects: int = 16
    max_overlap: float = 1.0
    margin: float = 0.1


GENEVAL = Rules()


class Verdict(NamedTuple):
    """The verdict on one picture.

    Attributes:
        correct: whether the picture shows what the line asks for.
        reasons: one for each clause that fails.
    """

    correct: bool
    reasons: tuple[str, ...]


def detected_color(image: Image, name: str, detections: Sequence[Detection]) -> list[str | None]:
    """Return the colours that the detector itself found: the classifier for detectors that classify colours.

    Args:
        image: ignored.
        name: ignored.
        detections: objects of one class.
    """
    return [d.color for d in detections]


def evaluate(
    image: Image, line: Line, detector: Detector, classify: ColorClassifier = detected_color, rules: Rules = GENEVAL
) -> Verdict:
    """Detect objects in one picture and check a metadata line against them.

    Args:
        image: uint8 [h, w, 3], RGB.
        line: a metadata line.
        detector: finds the objects.
        classify: names their colours.
        rules: thresholds.
    """
    return verdict(image, line, keep(detector.detect(image), line["tag"], rules), classify, rules)


# --- filtering


def keep(found: Mapping[str, Sequence[Detection]], tag: str, rules: Rules = GENEVAL) -> dict[str, list[Detection]]:
    """Return the detections that count for a tag, most certain first within each class.

    Args:
        found: class name -> detections in any order.
        tag: of the metadata line; selects the threshold.
        rules: thresholds.
    """
    limit = rules.counting_threshold if tag == "counting" else rules.threshold
    kept = {}
    for name, detections in found.items():
        certain = sorted((d for d in detections if d.score > limit), key=lambda d: -d.score)[: rules.max_objects]
        kept[name] = certain if rules.max_overlap >= 1 else suppress(certain, rules.max_overlap)
    return kept


def suppress(detections: Sequence[Detection], max_overlap: float) -> list[Detection]:
    """Return the detections that do not overlap a more certain one (non-maximum suppression).

    Args:
        detections: most certain first.
        max_overlap: intersection over union from which a box is dropped, in [0, 1].
    """
    kept: list[Detection] = []
    for d in detections:
        if all(overlap(d.box, other.box) < max_overlap for other in kept):
            kept.append(d)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in [0, 1]; GenEval's code counts one pixel more per side.

    Args:
        a: (x1, y1, x2, y2).
        b: another box.
    """
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


# --- positions


def relations(a: Box, b: Box, margin: float = 0.1) -> frozenset[str]:
    """Return the relations of box `a` to box `b`: none, one, or two at a diagonal.

    Each axis of the offset between the centres is first shortened by `margin` of both sizes and then compared with half
    the length of the whole offset.

    Args:
        a: (x1, y1, x2, y2).
        b: another box.
        margin: share of both sizes, at least 0.

    Returns:
        Some of "left of", "right of", "above" and "below".
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
    """Check every clause of a metadata line and collect all reasons against the picture.

    Args:
        image: uint8 [h, w, 3], RGB.
        line: a metadata line.
        found: filtered detections, most certain first within each class.
        classify: names their colours.
        rules: thresholds.
    """
    reasons = tuple(reason for reason in problems(image, line, found, classify, rules) if reason)
    return Verdict(not reasons, reasons)


def problems(
    image: Image, line: Line, found: Mapping[str, Sequence[Detection]], classify: ColorClassifier, rules: Rules
) -> list[str | None]:
    """Return why each clause of a metadata line fails, those of `include` first; None for one that holds.

    A clause is checked on the `count` most certain objects of its class only: a less certain object of the right colour
    does not count. Arguments are those of `verdict`.
    """
    reasons: list[str | None] = []
    matched: list[Sequence[Detection] | None] = []
    for clause in line["include"]:
        group = found.get(clause["class"], ())[: clause["count"]]
        reasons.append(
            missing(clause, group)
            or miscolored(clause, group, image, classify)
            or misplaced(clause, group, line["include"], matched, rules.margin)
        )
        matched.append(None if reasons[-1] else group)
    for clause in line.get("exclude", ()):
        count, few = len(found.get(clause["class"], ())), clause["count"]
        reasons.append(f"expected fewer than {few} {clause['class']}, found {count}" if count >= few else None)
    return reasons


def missing(clause: Line, group: Sequence[Detection]) -> str | None:
    """Return why there are too few objects of the class, None if there are enough.

    Args:
        clause: one entry of `include`.
        group: the most certain objects of its class.
    """
    if len(group) < clause["count"]:
        return f"expected at least {clause['count']} {clause['class']}, found {len(group)}"
    return None


def miscolored(clause: Line, group: Sequence[Detection], image: Image, classify: ColorClassifier) -> str | None:
    """Return why the objects do not have the colour of the clause, None if they do or it names none.

    Args:
        clause: one entry of `include`.
        group: the most certain objects of its class.
        image: uint8 [h, w, 3], RGB.
        classify: names their colours.
    """
    if "color" not in clause:
        return None
    colors = list(classify(image, clause["class"], group))
    if colors.count(clause["color"]) < clause["count"]:
        named = ", ".join(color or "no known colour" for color in colors)
        return f"expected {clause['count']} {clause['color']} {clause['class']}, found {named}"
    return None


def misplaced(
    clause: Line,
    group: Sequence[Detection],
    include: Sequence[Line],
    matched: Sequence[Sequence[Detection] | None],
    margin: float,
) -> str | None:
    """Return why an object is not in the relation of the clause to a target, None if all are or it names none.

    Args:
        clause: one entry of `include`.
        group: the most certain objects of its class.
        include: all entries of `include`.
        matched: the objects of each earlier clause, None where it failed.
        margin: as in `relations`.
    """
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
