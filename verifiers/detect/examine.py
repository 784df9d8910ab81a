"""One picture against one metadata line of GenEval: what was found, and which clauses hold."""

from __future__ import annotations

from typing import Any, NamedTuple

from verifiers.detect.geneval import (
    GENEVAL,
    ColorClassifier,
    Detection,
    Image,
    Line,
    Rules,
    Verdict,
    detected_color,
    keep,
    problems,
)


class Examined(NamedTuple):
    """What an examination of one picture found.

    Attributes:
        problems: why each clause fails, those of `include` first; None for one that holds.
        found: class name -> the detections that count, most certain first.
    """

    problems: tuple[str | None, ...]
    found: dict[str, list[Detection]]

    @property
    def verdict(self) -> Verdict:
        """Whether the picture shows what the line asks for, and why not."""
        reasons = tuple(filter(None, self.problems))
        return Verdict(not reasons, reasons)


def examine(
    image: Image, line: Line, detector: Any, classify: ColorClassifier = detected_color, rules: Rules = GENEVAL
) -> Examined:
    """Detect objects in one picture and check every clause of a metadata line (Ghosh et al. 2023, arXiv:2310.11513).

    Args:
        image: uint8 [h, w, 3], RGB.
        line: a metadata line.
        detector: a `Detector`; one with `looking_for` looks for the classes of the line only.
        classify: names their colours.
        rules: thresholds.
    """
    classes = [clause["class"] for clause in (*line["include"], *line.get("exclude", ()))]
    looking = detector.looking_for(list(dict.fromkeys(classes))) if hasattr(detector, "looking_for") else detector
    found = keep(looking.detect(image), line["tag"], rules)
    return Examined(tuple(problems(image, line, found, classify, rules)), found)
