"""The folder of an evaluation: the plan it belongs to, and a journal with one line per finished trial.

plan.json          what is measured; written first
pictures/          the winner of every trial
pending/           what is generated and not judged yet
results.jsonl      one line per finished trial: the truth that everything else follows from
candidates.jsonl   one line per finished trial with all its samples, where the plan asks for them
failed.jsonl       one line per trial that failed as often as it is tried
index.sqlite summary.json table.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from gensearch.evaluate.plan import Plan
from gensearch.files.atomic import held, read_records, write_atomic
from gensearch.runs.format import read_json

PLAN = "plan.json"
JOURNAL, FAILED, CANDIDATES = "results.jsonl", "failed.jsonl", "candidates.jsonl"
PENDING, PICTURES = "pending", "pictures"
TRIES = 3  # of a trial, before it is left out until it is asked for
Record = dict[str, Any]
READ = {"method", "prompt", "seed", "tag", "identity", "oracle", "judge", "holdout"}  # fields of a record, to resume
READ |= {"spent", "padding", "unscored", "seconds"}  # and to summarise


class Trial(NamedTuple):
    """One method on one prompt with one seed; prompt and seed by index."""

    method: str
    prompt: int
    seed: int


def key(record: Record) -> Trial:
    """The trial that made a record."""
    return Trial(record["method"], record["prompt"], record["seed"])


def records(folder: Path) -> list[Record]:
    """What a folder holds, in order of prompt, seed and method name, each trial once.

    Args:
        folder: of an evaluation; without a journal there are no records.

    Raises:
        ValueError: if the journal is damaged, or if the records of a method are by different networks, as after new
            weights under an old name.
    """
    lines = read_records(folder / JOURNAL, READ, "result")
    kinds = {"method": str, "prompt": int, "seed": int}
    if not all(type(line[name]) is kind for line in lines for name, kind in kinds.items()):
        raise ValueError(f"{folder / JOURNAL} is damaged: a line names no job. Take another --out or delete the folder")
    found = {key(record): record for record in lines}
    made_by = {(record["method"], record["identity"]) for record in found.values()}
    for method, _ in made_by:
        if sum(method == name for name, _ in made_by) > 1:
            raise ValueError(
                f"{folder}: the model or a verifier of {method!r} changed between its results; start again with --out"
            )
    return sorted(found.values(), key=lambda record: (record["prompt"], record["seed"], record["method"]))


def failures(folder: Path) -> list[Record]:
    """The trials that failed as often as they were tried, each once, with the last `error` in one line.

    Args:
        folder: of an evaluation.
    """
    lines = read_records(folder / FAILED, {"method", "prompt", "seed", "tag", "text", "error"}, "failure")
    return list({key(line): line for line in lines}.values())


def refuse_others(plan: Plan, benchmark: str, folder: Path) -> None:
    """Check that a folder is free or this plan's; changes nothing.

    Args:
        plan: What is to be measured.
        benchmark: The name of what it is measured on.
        folder: Where results are to go, which may be missing.

    Raises:
        ValueError: The folder holds the results of another plan, or files but no plan.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder with --out")
    if not (folder / PLAN).exists():
        if others := held(folder):
            raise ValueError(f"{folder} holds {min(others)} and no {PLAN}: it is no evaluation. Take another --out")
        return
    theirs, mine = read_json(folder / PLAN), claimed(plan, benchmark)
    if "benchmark" in theirs:  # a folder from before there were blocks
        theirs = {**theirs, "block": theirs.get("block", 1), "candidates": theirs.get("candidates", False)}
    if not started(folder) and theirs.keys() == mine.keys():
        return  # that plan has no results: a corrected one may have the folder
    changed = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
    if changed:
        raise ValueError(
            f"{folder} holds another evaluation: {', '.join(changed)} differ. Take a new folder with --out"
        )


def claim(plan: Plan, benchmark: str, folder: Path) -> None:
    """Write the plan into a folder without results.

    Args:
        plan: of this evaluation.
        benchmark: its name.
        folder: owned by this process.

    Raises:
        ValueError: as `refuse_others`.
    """
    refuse_others(plan, benchmark, folder)  # again, now that no other process writes
    if not started(folder):
        write_atomic(folder / PLAN, json.dumps(claimed(plan, benchmark), indent=1).encode())


def started(folder: Path) -> bool:
    """Whether a folder holds results, or what will become one.

    Args:
        folder: of an evaluation.
    """
    return (folder / JOURNAL).exists() or any((folder / PENDING).glob("*"))


def claimed(plan: Plan, benchmark: str) -> dict[str, Any]:
    """Return the contents of plan.json: what all results of a folder have in common.

    Args:
        plan: of this evaluation.
        benchmark: its name.
    """
    import torch

    return {"benchmark": benchmark, "torch": torch.__version__, **plan.model_dump(mode="json")}
