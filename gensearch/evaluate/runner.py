"""The resumable runner: a trial is one method on one prompt with one seed; a finished one is a line of a journal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.journal import FAILED, JOURNAL, Record, Trial, claim, failures, key, records, refuse_others
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.workers import in_processes, in_this_process
from gensearch.files.atomic import append_line, owned, sweep, write_atomic

__all__ = ["FAILED", "JOURNAL", "Benchmark", "failures", "records", "run_plan", "trials"]


def trials(plan: Plan, lines: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """All trials of a plan, pair by pair, so that an unfinished run is still paired.

    Args:
        plan: Its methods and its seeds per prompt.
        lines: The prompts, each with its `tag`.
    """
    seeds = plan.seeds_of([line["tag"] for line in lines])
    return [Trial(m.name, p, s) for p, count in enumerate(seeds) for s in range(count) for m in plan.methods]


def run_plan(plan: Plan, benchmark: Benchmark, folder: Path, *, workers: int = 1) -> Iterator[Record]:
    """Do the trials that the folder does not hold yet and yield each record once it is safely written.

    Whatever ends it, the same call goes on where it stopped. A trial that raises an error is recorded apart, with a
    warning at the end; the others go on, and the same call tries it again.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Prompts, exact judge, and what the plan's names stand for.
        folder: Where results go; one of an unfinished run of the same plan is continued.
        workers: Processes, each with its own copy of the models, 1 or more; results do not depend on it.

    Raises:
        ValueError: At once, if the folder belongs to something else; before the first trial, if another process is
            writing to it, if it is damaged, if a model or a verifier changed since, or for unknown names and knobs.
    """
    refuse_others(plan, benchmark.name, folder)
    return _run_plan(plan, benchmark, folder, workers)


def _run_plan(plan: Plan, benchmark: Benchmark, folder: Path, workers: int) -> Iterator[Record]:
    with owned(folder, JOURNAL):
        claim(plan, benchmark.name, folder)
        sweep(folder)
        made_by = {key(record): record["identity"] for record in records(folder)}
        todo = [trial for trial in trials(plan, benchmark.lines(plan.prompts)) if trial not in made_by]
        known = {trial.method: identity for trial, identity in made_by.items()}
        work = in_processes if workers > 1 else in_this_process
        (folder / FAILED).unlink(missing_ok=True)  # these are tried again
        for record, picture in work(plan, benchmark, known, todo, workers) if todo else ():
            if "error" in record:
                append_line(folder / FAILED, record)
                continue
            write_atomic(folder / record["picture"], picture)
            append_line(folder / JOURNAL, record)
            yield record
    if failed := failures(folder):
        first = failed[0]
        warnings.warn(
            f"{len(failed)} trials failed, see {folder / FAILED}; the same command tries them again. The first is "
            f"{first['method']} on {first['text']!r}: {first['error']}",
            stacklevel=2,
        )
