"""A detector whose finds are written in the first pixels of a picture, and GenEval's rules once more, slowly."""

from __future__ import annotations

from typing import Any

import numpy as np

from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.detect.geneval import Detection, Rules
from verifiers.vlm.decompose import COLORS


class Coded:
    """For every class as many boxes as a digit of the first pixels says, with scores and places from the others."""

    classes = GENEVAL_CLASSES
    rules = Rules()
    model = None

    def detect(self, image: np.ndarray) -> dict[str, list[Detection]]:
        digits = image.reshape(-1).astype(int)
        found: dict[str, list[Detection]] = {}
        for index, name in enumerate(self.classes):
            rng = np.random.default_rng([index, int(digits[0]) // 16, int(digits[1]) // 64])
            boxes = rng.uniform(0, 200, (rng.integers(5), 2))
            scores = rng.choice([0.25, 0.3, 0.35, 0.9, 0.95], len(boxes))
            found[name] = [
                Detection((x, y, x + 40, y + 60), float(s)) for (x, y), s in zip(boxes.tolist(), scores, strict=True)
            ]
        return found


def coded_color(image: np.ndarray, name: str, detections: Any) -> list[str | None]:
    """A colour from the place of the object and the picture."""
    return [COLORS[int(d.box[0] + image[0, 0, 2] // 32) % 3] for d in detections]


def slow_relations(a: tuple[float, ...], b: tuple[float, ...]) -> set[str]:
    """Relations of two boxes, axis by axis."""
    names = (("left of", "right of"), ("above", "below"))
    out: set[str] = set()
    offsets = [(a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2 for i in (0, 1)]
    margins = [0.1 * (abs(a[i + 2] - a[i]) + abs(b[i + 2] - b[i])) for i in (0, 1)]
    rest = [0.0 if abs(o) <= m else o - m if o > 0 else o + m for o, m in zip(offsets, margins, strict=True)]
    if abs(rest[0]) < 1e-3 and abs(rest[1]) < 1e-3:
        return out
    length = (offsets[0] ** 2 + offsets[1] ** 2) ** 0.5
    for value, (less, more) in zip(rest, names, strict=True):
        if value / length < -0.5:
            out.add(less)
        if value / length > 0.5:
            out.add(more)
    return out


def slow_verdict(image: np.ndarray, line: dict[str, Any], detector: Any, classify: Any) -> tuple[bool, int]:
    """Whether a picture is right and how many reasons there are against it, by the prose of the paper's rules."""
    limit = 0.9 if line["tag"] == "counting" else 0.3
    objects = {}
    for name, things in detector.detect(image).items():
        certain = [thing for thing in things if thing.score > limit]
        objects[name] = sorted(certain, key=lambda thing: thing.score, reverse=True)[:16]
    reasons = 0
    groups: list[Any] = []
    for clause in line["include"]:
        group = objects.get(clause["class"], [])[: clause["count"]]
        good = len(group) == clause["count"]
        if good and "color" in clause:
            good = classify(image, clause["class"], group).count(clause["color"]) >= clause["count"]
        if good and "position" in clause:
            relation, target = clause["position"]
            others = groups[target]
            good = others is not None and all(relation in slow_relations(a.box, b.box) for a in group for b in others)
        reasons += not good
        groups.append(group if good else None)
    for clause in line.get("exclude", []):
        reasons += len(objects.get(clause["class"], [])) >= clause["count"]
    return reasons == 0, reasons
