"""The processes that do the trials of an evaluation: this one, or several of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread

import torch

from gensearch.evaluate.bench import Bench, Benchmark
from gensearch.evaluate.journal import Record, Trial
from gensearch.evaluate.plan import Plan


def in_this_process(
    plan: Plan, benchmark: Benchmark, known: Mapping[str, str], todo: Sequence[Trial], workers: int
) -> Iterator[tuple[Record, bytes]]:
    """Do the trials one after the other; the caller's thread count holds again whenever it has control.

    Args:
        plan: Methods, hold-outs and CPU threads per process.
        benchmark: What the plan's names stand for.
        known: Identities of the methods that have results already.
        todo: What to do, in order.
        workers: Not used: this is one process.

    Raises:
        ValueError: As `Bench.load` does.
    """
    with threads(plan.threads):
        bench = Bench.load(plan, benchmark, known)
    for trial in todo:
        with threads(plan.threads):
            done = attempt(bench, trial)
        yield done


def attempt(bench: Bench, trial: Trial) -> tuple[Record, bytes]:
    """One trial: its record and picture, or if it failed what `Bench.failed` records of it and no picture.

    Args:
        bench: What does it.
        trial: Which method, prompt and seed.
    """
    try:
        return bench.do(trial)
    except Exception as error:  # the other trials do not depend on it
        return bench.failed(trial, error), b""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch so many CPU threads for a while, 1 or more."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_processes(
    plan: Plan, benchmark: Benchmark, known: Mapping[str, str], todo: Sequence[Trial], workers: int
) -> Iterator[tuple[Record, bytes]]:
    """Do the trials in spawned processes, each with its own copy of the models; results come in their order."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initialise, (plan, benchmark, known))
    try:
        yield from pool.map(do, todo)
    finally:
        pool.shutdown(cancel_futures=True)


_bench: list[Callable[[], Bench]] = []  # of a worker process


def initialise(plan: Plan, benchmark: Benchmark, known: Mapping[str, str]) -> None:
    """Prepare a worker process: one that ends with its parent and loads everything at its first trial.

    Loading here instead would hide its errors: an executor reports a failed initialiser without saying why.
    """
    Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(plan.threads)
    _bench[:] = [cache(lambda: Bench.load(plan, benchmark, known))]


def end_with_parent() -> None:
    """Wait for the parent process to end, however it ends, and leave at once."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def do(trial: Trial) -> tuple[Record, bytes]:
    """One trial in a worker process."""
    return attempt(_bench[0](), trial)
