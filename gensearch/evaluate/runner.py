"""The resumable runner: pictures are generated and written in blocks, and judged while the next block is generated."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from gensearch.evaluate import made as waiting_room
from gensearch.evaluate.bench import Bench, Benchmark, load_jury
from gensearch.evaluate.blocks import Block, Shard, blocks, trials
from gensearch.evaluate.journal import (
    CANDIDATES,
    FAILED,
    JOURNAL,
    PICTURES,
    TRIES,
    Record,
    Trial,
    claim,
    failures,
    key,
    records,
    refuse_others,
)
from gensearch.evaluate.jury import Judged, Jury
from gensearch.evaluate.made import Made
from gensearch.evaluate.pictures import lost, made_again, write_pictures
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.workers import Generated, in_processes, in_this_process, threads
from gensearch.files.atomic import append_line, owned, read_records, sweep

__all__ = ["FAILED", "JOURNAL", "Benchmark", "failures", "records", "run_plan", "trials"]

Stage = Literal["both", "generate", "judge"]


def run_plan(
    plan: Plan,
    benchmark: Benchmark,
    folder: Path,
    *,
    workers: int = 1,
    shard: Shard = (1, 1),
    stage: Stage = "both",
    retry: bool = False,
) -> Iterator[Record]:
    """Do the trials that the folder does not hold yet and yield each record once it is safely written.

    Whatever ends it, the same call goes on where it stopped. A trial that fails three times is recorded apart, with a
    warning at the end, and left out until `retry`; the others go on.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Prompts, exact judge, and what the plan's names stand for.
        folder: Where results go; one of an unfinished run of the same plan is continued.
        workers: Processes, each with its own copy of the models, 1 or more; results do not depend on it.
        shard: Which part of the trials to do, from 1, of how many; all parts together are the whole.
        stage: "generate" writes pictures that "judge" judges, perhaps elsewhere; "both" does both.
        retry: Whether trials that have failed get another chance.

    Raises:
        ValueError: At once, if the folder belongs to something else; before the first trial, if another process is
            writing to it, if it is damaged, if a model or a verifier changed since, or for unknown names and knobs.
        OSError: The disk is full, for example; the same call goes on.
    """
    refuse_others(plan, benchmark.name, folder)
    return _run_plan(plan, benchmark, folder, workers, shard, stage, retry)


def _run_plan(
    plan: Plan, benchmark: Benchmark, folder: Path, workers: int, shard: Shard, stage: Stage, retry: bool
) -> Iterator[Record]:
    with owned(folder, PICTURES), roomy():
        claim(plan, benchmark.name, folder)
        sweep(folder)
        found = records(folder)
        finished = {key(record) for record in found}
        known = {record["method"]: record["identity"] for record in found}
        gone = lost(folder, found)
        before = {key(failure) for failure in failures(folder)}
        if retry:
            (folder / FAILED).unlink(missing_ok=True)
        retried, done = (before, set(finished)) if retry else (set(), finished | before)
        bench = Bench.load(plan, benchmark, known) if gone else None
        if bench:
            done -= redo(plan, folder, gone, bench)
        parts = blocks(plan, benchmark.lines(plan.prompts), shard)
        work = divide(folder, parts, finished, done, retried, stage)
        if work.todo and workers == 1 and bench is None:
            with threads(plan.threads):
                bench = Bench.load(plan, benchmark, known)
        jury = bench.jury if bench else load_jury(plan, benchmark) if work.todo or work.ready else None
        if jury:
            fresh = (
                in_this_process(bench, plan.threads, work.todo)
                if bench and workers == 1
                else in_processes(plan, benchmark, known, work.todo, workers)
            )
            book = Book(folder, done)
            for block, judged in settled(work.ready, fresh, folder, jury, plan.threads, stage):
                yield from book.enter(block, judged)
    if failed := failures(folder):
        first = failed[0]
        warnings.warn(
            f"{len(failed)} trials failed {TRIES} times, see {folder / FAILED}; they are left out until --retry. The "
            f"first is {first['method']} on {first['text']!r}: {first['error']}",
            stacklevel=2,
        )


@contextmanager
def roomy() -> Iterator[None]:
    """Say what to do if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = "the disk is full; what is done is kept. Free some space, and the same command goes on"
        raise OSError(error.errno, full, error.filename) from error


def redo(plan: Plan, folder: Path, gone: list[Record], bench: Bench) -> set[Trial]:
    """Make lost pictures again from their recipes, and name them; the trials whose recipe gives other pixels.

    Args:
        plan: CPU threads.
        folder: Of the evaluation.
        gone: Records without their picture.
        bench: Has the models.
    """
    models = {name: job.model for name, job in bench.jobs.items()}
    names = ", ".join(record["picture"] for record in gone[:3]) + (", ..." if len(gone) > 3 else "")
    warnings.warn(
        f"{len(gone)} pictures are missing or damaged and are made again from their recipes: {names}", stacklevel=2
    )
    with threads(plan.threads):
        return {key(record) for record in gone if not made_again(folder, record, models)}


class Work(NamedTuple):
    """What is to be done.

    Attributes:
        ready: Blocks that are generated and wait for their judges.
        todo: Blocks to generate.
    """

    ready: list[Block]
    todo: list[Block]


def divide(
    folder: Path, parts: list[Block], finished: set[Trial], done: set[Trial], retried: set[Trial], stage: Stage
) -> Work:
    """Which blocks are to be judged and which to be generated.

    A block is generated whole, also where some of its trials are finished, so that its trials keep their company; only
    trials that failed before are tried again alone.

    Args:
        folder: Of the evaluation.
        parts: All blocks.
        finished: Trials with a result.
        done: Trials with a result, and those that are left out.
        retried: Trials that failed before and get another chance.
        stage: What is to be done at all.
    """
    work = Work([], [])
    for block in parts:
        missing = [trial for trial in block.trials if trial not in done]
        waits = waiting_room.waiting(folder, block.number)
        if not missing:
            if finished.issuperset(key(record) for record in waits if "error" not in record):
                waiting_room.path_of(folder, block.number).unlink(missing_ok=True)  # a kill left it
            continue
        generated = {key(record) for record in waits if "error" not in record or key(record) not in retried}
        if generated.issuperset(missing):
            if stage != "generate":
                work.ready.append(block)
        elif stage != "judge":
            alone = retried.issuperset(missing) and not generated
            work.todo.append(block._replace(trials=tuple(missing)) if alone else block)
    return work


def settled(
    ready: Iterable[Block], fresh: Iterable[Generated], folder: Path, jury: Jury, count: int, stage: Stage
) -> Iterator[tuple[Block, list[Judged]]]:
    """Blocks with their verdicts: each is written and judged in a thread while the next one is generated.

    Args:
        ready: Blocks that wait for their judges.
        fresh: Blocks that are generated as they are asked for.
        folder: Of the evaluation.
        jury: Judges them.
        count: CPU threads.
        stage: Whether to judge at all.
    """

    def old(block: Block) -> list[Judged]:
        return jury(waiting_room.kept(folder, block.number))

    def new(block: Block, generated: list[Made]) -> list[Judged]:
        write_pictures(folder, generated)
        waiting_room.keep(folder, block.number, generated)
        return [] if stage == "generate" else jury(generated)

    def tasks() -> Iterator[tuple[Block, Callable[[], list[Judged]]]]:
        yield from ((block, partial(old, block)) for block in ready)
        yield from ((block, partial(new, block, generated)) for block, generated in fresh)

    pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(count,))
    before: tuple[Block, Future[list[Judged]]] | None = None
    try:
        for block, task in tasks():
            future = pool.submit(task)
            if before:
                yield before[0], before[1].result()
            before = block, future
        if before:
            yield before[0], before[1].result()
    finally:
        pool.shutdown(cancel_futures=True)


class Book:
    """Enters verdicts into the journals of a folder, each once.

    Args:
        folder: Of the evaluation.
        done: Trials that have a result.
    """

    def __init__(self, folder: Path, done: set[Trial]) -> None:
        self._folder, self._done = folder, done
        self._listed = {key(line) for line in read_records(folder / CANDIDATES, {"candidates"}, "list of candidates")}

    def enter(self, block: Block, judged: Iterable[Judged]) -> Iterator[Record]:
        """Write the records of a block that are not there yet, yield each, and drop what waited for them.

        Args:
            block: Which one.
            judged: Its records with their candidates.
        """
        complete = True
        for record, candidates in judged:
            trial = key(record)
            if "error" in record:
                complete = complete and not record["error"].startswith("not judged")
                if trial not in self._done:
                    append_line(self._folder / FAILED, record)
            elif trial not in self._done:
                if candidates and trial not in self._listed:
                    append_line(self._folder / CANDIDATES, {**trial._asdict(), "candidates": candidates})
                append_line(self._folder / JOURNAL, record)
                yield record
            self._done.add(trial)
        if complete and judged:
            waiting_room.path_of(self._folder, block.number).unlink(missing_ok=True)
