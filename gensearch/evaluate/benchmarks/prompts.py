"""Any file of prompts as a benchmark: by GenEval's rules, by questions, or without a rule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from gensearch import registry
from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.geneval import JUDGE, geneval
from gensearch.evaluate.benchmarks.lines import QUESTIONS, RULES, checksum, first, read, rule_of
from verifiers.types import Verifier
from verifiers.vlm.checklist import Checklist


def from_file(path: Path, judge: str | None, holdout: Sequence[str] = (), *, canary: bool = True) -> Benchmark:
    """A benchmark from a file; its name has the start of the file's SHA-256, so that another file is another benchmark.

    Args:
        path: Of a .txt or .jsonl file.
        judge: The verifier whose score is the metric; for rules, `geneval:DETECTOR` (default JUDGE).
        holdout: Verifiers that only report. Without a rule and without a judge, the first of them is the metric.
        canary: Whether a detector must first be right on known pictures.

    Raises:
        ValueError: A line is unfit, or nothing can measure these prompts; the file and the line are named.
    """
    rule = rule_of(read(path)[0])
    if rule == RULES:
        return geneval(judge or JUDGE, path, canary=canary)
    metric = judge or (None if rule else next(iter(holdout), None))
    if metric is None:
        wanted = "--judge with a model that answers questions" if rule else "--judge or --holdout with a verifier"
        raise ValueError(f"nothing measures the prompts of {path}; give {wanted}")
    name = f"{path.name} (sha256 {checksum(path)[:8]}) by {metric}"
    if rule == QUESTIONS:
        return Benchmark(
            f"{name} on its questions", partial(lines, path), partial(answers, path, metric), frozenset({metric})
        )
    name += "" if judge else ", a hold-out: there is no exact judge"
    return Benchmark(name, partial(lines, path), partial(built, metric), frozenset({metric}))


def lines(path: Path, per_tag: int) -> list[dict[str, Any]]:
    """Return the first lines of each tag, in the order of the file.

    Args:
        path: Of the file.
        per_tag: At most so many.
    """
    return first(read(path), per_tag)


@cache
def built(name: str) -> Verifier:
    """Build a verifier once in this process; its licence was checked before.

    Args:
        name: Of the verifier.
    """
    return registry.verifier(name, allow_noncommercial=True)


@cache
def answers(path: Path, name: str) -> Verifier:
    """Build the judge of prompts with questions.

    Args:
        path: Of the file.
        name: A verifier that answers questions.

    Raises:
        ValueError: It answers none.
    """
    answerer: Any = built(name)
    pairs = {line["prompt"]: [(q, a) for q, a in line[QUESTIONS]] for line in read(path)}
    return Checklist(getattr(answerer, "judge", answerer), pairs, name)
