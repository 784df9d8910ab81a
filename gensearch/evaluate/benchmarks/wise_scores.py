"""The overall score of WISE, and its benchmark in both editions (Niu et al. 2025, arXiv:2503.07265)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.subset import spread
from gensearch.evaluate.benchmarks.wise import EDITIONS, Edition, Wise, load
from verifiers.vlm.respond import responder

JUDGE = "vqascore:Qwen/Qwen3.5-35B-A3B"  # that of the verified edition; published legacy scores are by GPT-4o


def by_category(scores: Mapping[int, float], edition: Edition) -> dict[str, float]:
    """Return the mean score of each category that has scores.

    Args:
        scores: id -> score in [0, 1].
        edition: of the ids.

    Raises:
        ValueError: for a score outside of [0, 1], and one of the verified edition that is neither 0 nor 1.
    """
    found: dict[str, list[float]] = {}
    for number, score in scores.items():
        if not 0 <= score <= 1:
            raise ValueError(f"the score of id {number} is {score}; scores of WISE are 0 to 1")
        found.setdefault(edition.category(number), []).append(score)
    return {name: math.fsum(found[name]) / len(found[name]) for name in edition.ends if name in found}


def overall(scores: Mapping[int, float], edition: Edition) -> float:
    """Return the mean of the categories by their shares of the 1000 prompts.

    Args:
        scores: id -> score in [0, 1], of all 1000 ids.
        edition: of the ids.

    Raises:
        ValueError: if an id has no score, and as `by_category`.
    """
    if missing := [number for number in range(1, 1001) if number not in scores]:
        raise ValueError(
            f"WISE has no overall score without all 1000 ids; {len(missing)} are missing, the first is {missing[0]}. "
            "Generate or judge these again"
        )
    means, ends = by_category(scores, edition), [0, *edition.ends.values()]
    sizes = [last - first for first, last in zip(ends, ends[1:], strict=False)]
    return math.fsum(size * means[name] for size, name in zip(sizes, edition.ends, strict=True)) / 1000


def summary(edition: Edition, path: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of each category, and `overall`, or how many ids are `missing` for it.

    Args:
        edition: of the prompts.
        path: of its data.
        records: of one method; several pictures of a prompt are averaged.
    """
    ids: dict[str, list[int]] = {}
    for item in load(path, edition):
        ids.setdefault(item.prompt, []).append(item.number)
    by_id: dict[int, list[float]] = {}
    for record in records:
        if record["judge"] is not None:
            for number in ids[record["text"]]:
                by_id.setdefault(number, []).append(record["judge"])
    scores = {number: math.fsum(values) / len(values) for number, values in by_id.items()}
    missing = 1000 - len(scores)
    return by_category(scores, edition) | (
        {"missing": float(missing)} if missing else {"overall": overall(scores, edition)}
    )


def lines(edition: Edition, path: Path, per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many prompts of each category, spread over its ids.

    Args:
        edition: of the prompts.
        path: of its data.
        per_tag: 1 or more; 400 for all of them.

    Raises:
        ValueError: as `load`.
    """
    items = load(path, edition)
    return spread([{"tag": item.category, "prompt": item.prompt, "id": item.number} for item in items], per_tag)


def judge(edition: Edition, path: Path, model: str) -> Wise:
    """Build the judge; the model is loaded when the first picture is scored.

    Args:
        edition: of the prompts.
        path: of its data.
        model: as for `verifiers.vlm.respond.responder`.

    Raises:
        ValueError: as `load`.
    """
    return Wise(partial(responder, model), load(path, edition), edition)


def benchmark(name: str, path: Path, model: str) -> Benchmark:
    """Return the benchmark.

    Args:
        name: of the edition, "verified" or "legacy".
        path: of its data.
        model: that judges, as for `verifiers.vlm.respond.responder`.
    """
    edition = EDITIONS[name]
    parts = (edition, path)
    return Benchmark(
        f"wise {name} by {model}",
        partial(lines, *parts),
        partial(judge, *parts, model),
        frozenset({f"wise-{name}", model}),
        summary=partial(summary, *parts),
    )
