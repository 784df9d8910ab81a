"""The processes that generate the blocks of an evaluation: this one, or several of their own."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread

import torch

from gensearch.evaluate.bench import Bench, Benchmark
from gensearch.evaluate.blocks import Block
from gensearch.evaluate.made import Made
from gensearch.evaluate.plan import Plan

Generated = tuple[Block, list[Made]]


def in_this_process(bench: Bench, count: int, todo: Sequence[Block]) -> Iterator[Generated]:
    """Generate blocks one after the other; the caller's thread count holds again whenever it has control.

    Args:
        bench: What generates.
        count: CPU threads.
        todo: The blocks, in order.
    """
    for block in todo:
        with threads(count):
            done = bench.make(block.trials)
        yield block, done


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
    plan: Plan, benchmark: Benchmark, known: Mapping[str, str], todo: Sequence[Block], workers: int
) -> Iterator[Generated]:
    """Generate blocks in spawned processes, each with its own copy of the models; results come in their order.

    Args:
        plan: Methods, hold-outs and CPU threads per process.
        benchmark: What the plan's names stand for.
        known: Identities of the methods that have results already.
        todo: The blocks, in order.
        workers: How many processes, 1 or more; each has at most one block ahead.

    Raises:
        ValueError: As `Bench.load` does.
        RuntimeError: A process was killed.
    """
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initialise, (plan, benchmark, known))
    waiting = deque[tuple[Block, Future[list[Made]]]]()
    try:
        for block in todo:
            waiting.append((block, pool.submit(do, block)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            f"one of {workers} workers was killed, perhaps for its memory; the same command goes on, with fewer "
            "--workers where memory is short"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_bench: list[Callable[[], Bench]] = []  # of a worker process


def initialise(plan: Plan, benchmark: Benchmark, known: Mapping[str, str]) -> None:
    """Prepare a worker process: one that ends with its parent and loads everything at its first block.

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


def do(block: Block) -> list[Made]:
    """One block in a worker process."""
    return _bench[0]().make(block.trials)
