"""The benchmarks by name, and any file of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gensearch.core.errors import nearest
from gensearch.evaluate.benchmarks import published

if TYPE_CHECKING:
    from gensearch.evaluate.bench import Benchmark

NAMES = ("shapes", "moving", "geneval", *published.NAMES)


def find(
    name: str,
    judge: str | None = None,
    path: Path | None = None,
    holdout: Sequence[str] = (),
    canary: bool = True,
    allow_noncommercial: bool = False,
) -> Benchmark:
    """A benchmark by name, or from a file of prompts.

    Args:
        name: One of `NAMES`, or the path of a .txt or .jsonl file.
        judge: A verifier whose score is the metric; not for a benchmark with an exact judge of its own.
        path: Another file of metadata lines for geneval; the prompts of a benchmark that is not shipped.
        holdout: Verifiers that only report.
        canary: Whether a detector must first be right on known pictures.
        allow_noncommercial: Whether the judge's licence may forbid commercial use.

    Raises:
        ValueError: There is no such benchmark, or the judge is unknown, unfit or not allowed.
    """
    if name in ("shapes", "moving"):
        from gensearch.evaluate.benchmarks.shapes import MOVING, SHAPES

        if judge or path:
            raise ValueError(f"{name} has prompts and an exact judge of its own; leave out --judge and --prompts-file")
        return {"shapes": SHAPES, "moving": MOVING}[name]
    if name in published.NAMES:
        return published.find(name, path, judge)
    if name != "geneval" and Path(name).suffix not in (".txt", ".jsonl"):
        raise ValueError(f"no benchmark is called {name!r}{nearest(name, NAMES)}; a file of prompts is .txt or .jsonl")
    from gensearch import registry
    from gensearch.evaluate.benchmarks import geneval, lines, prompts

    file = Path(name).expanduser()
    ruled = name == "geneval" or lines.rule_of(lines.read(file)[0]) == lines.RULES
    judge = f"geneval:{geneval.source_of(judge or geneval.JUDGE)}" if ruled else judge
    for metric in (judge,) if judge else ():
        registry.parse_verifier(metric)
        registry.check_licences(metric, allow_noncommercial)
    if name == "geneval":
        return geneval.geneval(judge or geneval.JUDGE, path, canary=canary)
    if path:
        raise ValueError(f"{name} is a file of prompts already; leave out --prompts-file")
    return prompts.from_file(file, judge, holdout, canary=canary)
