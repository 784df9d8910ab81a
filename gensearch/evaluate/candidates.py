"""All finished samples of the trials of an evaluation, as `candidates.jsonl` beside the results holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gensearch.evaluate.journal import CANDIDATES
from gensearch.files.atomic import read_records

GUIDE, JUDGE = "guide", "judge"  # names of scores that every candidate has


class Candidates(NamedTuple):
    """The finished samples of one trial.

    Attributes:
        method: That made them.
        prompt: Its index.
        seed: Its index.
        scores: Name of a score -> its values, [n]; `guide` for the search's own, `judge`, and hold-outs. NaN: unscored.
        independent: Whether none of them was made from another, so that any n of them are a search of n samples.
        nfe: Network function evaluations of each, [n].
    """

    method: str
    prompt: int
    seed: int
    scores: dict[str, np.ndarray]
    independent: bool
    nfe: np.ndarray


def read_candidates(folder: Path) -> list[Candidates]:
    """The candidates of each trial, each trial once; none where none were stored.

    Args:
        folder: Of an evaluation.

    Raises:
        ValueError: The file is damaged, or a line lacks a score.
    """
    lines = read_records(folder / CANDIDATES, {"method", "prompt", "seed", "candidates"}, "candidates")
    found = {(line["method"], line["prompt"], line["seed"]): line for line in lines}
    try:
        return [parse(line) for line in found.values() if line["candidates"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{folder / CANDIDATES} is damaged: a candidate lacks or garbles {error}; delete the file, or run the "
            "evaluation again with another --out"
        ) from None


def parse(line: Mapping[str, Any]) -> Candidates:
    """One line of the file."""
    given: Sequence[Mapping[str, Any]] = line["candidates"]
    scores = {GUIDE: floats([one["score"] for one in given]), JUDGE: floats([one["judge"] for one in given])}
    for name in given[0]["holdout"]:
        scores[name] = floats([one["holdout"][name] for one in given])
    independent = not any(parent is not None for one in given for parent in parents(one["parents"]))
    return Candidates(
        line["method"], line["prompt"], line["seed"], scores, independent, floats([one["nfe"] for one in given])
    )


def parents(value: Any) -> Sequence[Any]:
    """The parents of a candidate as a sequence: none, one or several."""
    return value if isinstance(value, list) else [value]


def floats(values: Sequence[float | None]) -> np.ndarray:
    """Numbers as float64, None as NaN."""
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
