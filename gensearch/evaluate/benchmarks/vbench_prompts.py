"""VBench's prompts as a benchmark; its clips are exported and scored in VBench's own environment (arXiv:2311.17982)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.subset import spread
from gensearch.evaluate.benchmarks.vbench import LIMITS, normalised
from verifiers.video.flicker import Flicker

WHERE = "download VBench_full_info.json from https://github.com/Vchitect/VBench (vbench/) and give it as --prompts-file"
PER_PROMPT = 5


def load(path: Path) -> list[dict[str, Any]]:
    """Return prompts with the dimensions that they are for, each prompt once.

    Args:
        path: of VBench_full_info.json: a list of objects with `prompt_en` and `dimension`.

    Raises:
        ValueError: for a missing file, and for one of another form.
    """
    found: dict[str, list[str]] = {}
    try:
        for row in json.loads(path.read_text(encoding="utf-8")):
            names = [name for name in row["dimension"] if name in LIMITS]
            own = found.setdefault(str(row["prompt_en"]), [])
            own += [name for name in names if name not in own]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} holds no prompts of VBench ({type(error).__name__}: {error}); {WHERE}") from None
    if not found or not all(found.values()):
        raise ValueError(f"{path} has prompts without a dimension of VBench; {WHERE}")
    return [{"tag": names[0], "prompt": prompt, "dimensions": names} for prompt, names in found.items()]


def lines(path: Path, per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many prompts of each first dimension, spread over the file.

    Args:
        path: as for `load`.
        per_tag: 1 or more; 100 for all of them.

    Raises:
        ValueError: as `load`.
    """
    return spread(load(path), per_tag)


def summary(path: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the normalised temporal flickering over the prompts of that dimension; other dimensions need VBench.

    Args:
        path: as for `load`.
        records: of one method.
    """
    name = "temporal_flickering"
    still = {line["prompt"] for line in load(path) if name in line["dimensions"]}
    values = [r["judge"] for r in records if r["text"] in still and r["judge"] is not None]
    return normalised({name: sum(values) / len(values)}) if values else {}


def benchmark(path: Path) -> Benchmark:
    """Return the benchmark; its metric is temporal flickering, the one dimension that needs no network.

    Args:
        path: as for `load`.
    """
    known = frozenset({"flicker", "motion"})
    own, total = partial(lines, path), partial(summary, path)
    return Benchmark("vbench, temporal flickering", own, Flicker, known, per_prompt=PER_PROMPT, summary=total)
