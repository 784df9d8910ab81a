"""GenEval's rules over a detector by name, each built when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from verifiers.entry import Entry, loaded_by

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier

detection = loaded_by("verifiers.detect.detection", "DetectionScore")
geneval = loaded_by("verifiers.detect.detection", "DetectionScore", graded=False)

VERIFIERS: dict[str, Entry] = {
    f"{kind}:{detector}": Entry(
        partial(build, detector), f"GenEval's rules over {detector}; {about}", True, f"verifiers.detect.{detector}"
    )
    for kind, build, about in (("detection", detection, "share of clauses"), ("geneval", geneval, "pass or fail"))
    for detector in ("grounding", "mask2former", "owlv2")
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {"detection": detection, "geneval": geneval}  # by kind:source
