"""The resumable runner: a job is one method on one prompt with one seed, a finished job is one line of a journal."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import torch
from torch import nn

from gensearch import registry
from gensearch.core.divergence import spent_nats
from gensearch.core.noise import derive
from gensearch.core.result import Result
from gensearch.core.types import Model, Search
from gensearch.engine.run import result
from gensearch.evaluate.journal import JOURNAL, Job, Record, claim, key, records, refuse_others
from gensearch.evaluate.plan import Plan
from gensearch.files.atomic import append_line, owned, sweep, write_atomic
from gensearch.files.images import encode, to_pixels
from gensearch.models.fingerprint import judge_hashes, module_hash
from gensearch.pipeline import SearchPipeline
from gensearch.runs.folder import number
from verifiers.combine import leaf_names
from verifiers.names import leaf_names as names_in
from verifiers.types import Verifier


class Benchmark(NamedTuple):
    """What an evaluation runs on; only functions of modules, so that it can be sent to other processes."""

    name: str
    lines: Callable[[int], Sequence[Mapping[str, Any]]]  # at most so many prompts per tag: `tag` and `prompt`
    judge: Callable[[], Verifier]  # the exact judge, whose verdict is the metric
    oracles: frozenset[str]  # names of verifiers that know the judge's verdict
    model: Callable[..., Model] = registry.load_model  # source and options -> model
    verifier: Callable[[str], Verifier] = registry.verifier  # name -> verifier
    search: Callable[[str], Search] = registry.search  # name -> search


def jobs(plan: Plan, prompts: int) -> list[Job]:
    """All jobs of a plan, pair by pair, so that an unfinished run is still paired."""
    return [Job(m.name, p, s) for p in range(prompts) for s in range(plan.seeds) for m in plan.methods]


def run_plan(plan: Plan, benchmark: Benchmark, folder: Path, *, workers: int = 1) -> Iterator[Record]:
    """Do the jobs that the folder does not hold yet and yield each record once it is safely written.

    Whatever ends it, the same call goes on where it stopped, and the results do not depend on `workers`.
    Raises ValueError at once if the folder belongs to something else, and before the first job if another process is
    writing to it, if it is damaged, if a model or a judge changed since, or for names and knobs that do not exist.
    """
    refuse_others(plan, benchmark.name, folder)
    return _run_plan(plan, benchmark, folder, workers)


def _run_plan(plan: Plan, benchmark: Benchmark, folder: Path, workers: int) -> Iterator[Record]:
    with owned(folder, JOURNAL):
        claim(plan, benchmark.name, folder)
        sweep(folder)
        made_by = {key(record): record["identity"] for record in records(folder)}
        todo = [job for job in jobs(plan, len(benchmark.lines(plan.prompts))) if job not in made_by]
        known = {job.method: identity for job, identity in made_by.items()}
        work = in_processes if workers > 1 else in_this_process
        for record, picture in work(plan, benchmark, known, todo, workers) if todo else ():
            write_atomic(folder / record["picture"], picture)
            append_line(folder / JOURNAL, record)
            yield record


# --- one process


class Bench:
    """The loaded models and verifiers of one process: each once, whatever the number of methods that share it."""

    def __init__(self, plan: Plan, benchmark: Benchmark, known: Mapping[str, str]) -> None:
        """Load everything and refuse, before anything is spent, what some method could not run.

        `known` are the identities of the methods that have results already: what made those must make the rest.
        """
        self.seed = plan.seed
        self.lines = benchmark.lines(plan.prompts)
        self.judge = benchmark.judge()
        verifier = cache(lambda name: name if "self" in names_in(name) else benchmark.verifier(name))
        model = cache(lambda source, options: benchmark.model(source, **json.loads(options)))
        self.holdout = {name: verifier(name) for name in plan.holdout}
        self.pipelines = {}
        for method in plan.methods:
            try:
                self.pipelines[method.name] = SearchPipeline(
                    model(method.model, json.dumps(method.options, sort_keys=True)),
                    verifier(method.verifier),
                    benchmark.search(method.search),
                    compute=method.compute,
                    select=verifier(method.select) if method.select else None,
                    propose=method.propose,
                    holdout=list(self.holdout.values()),
                    **method.knobs,
                )
            except ValueError as error:
                raise ValueError(f"method {method.name!r}: {error}") from error
        self.identities = {name: identity(pipeline) for name, pipeline in self.pipelines.items()}
        for pipeline in self.pipelines.values():  # `opinions` asks the hold-outs, once and outside the clock
            pipeline.panel = replace(pipeline.panel, holdout={})
        changed = [name for name, made_by in known.items() if self.identities.get(name) != made_by]
        if changed:
            raise ValueError(
                f"the model or a judge of {', '.join(changed)} changed since the folder's results; take another --out"
            )
        seen = {name: leaf_names(pipe.panel.guide, pipe.panel.select) for name, pipe in self.pipelines.items()}
        self.oracles = {name for name in seen if seen[name] & benchmark.oracles}

    def do(self, job: Job) -> tuple[Record, bytes]:
        """Search, judge the winner and the plain sample, and return the record with the winner's PNG."""
        started = time.perf_counter()
        line, pipeline = self.lines[job.prompt], self.pipelines[job.method]
        prompt = line["prompt"]
        root = derive(self.seed, prompt, job.seed)  # never depends on the method
        last = deque(pipeline.stream(prompt, root), maxlen=1)
        found = result(last[0] if last else None)
        seconds = time.perf_counter() - started
        record = {
            **job._asdict(),
            "tag": line["tag"],
            "text": prompt,
            "identity": self.identities[job.method],
            "root": root,
            "oracle": job.method in self.oracles,
            **self.opinions(prompt, found),
            "score": number(found.best.score),
            "recipe": found.best.recipe,
            "nats": number(moved(pipeline.model, found)),
            "spent": found.ledger.spent._asdict(),
            "padding": found.ledger.padding._asdict(),
            "unscored": found.unscored,
            "stopped": found.stopped,
            "seconds": round(seconds, 4),
            "picture": f"pictures/{job.method}/{job.prompt:04}-{job.seed}.png",
        }
        return record, encode(to_pixels(found.best.media))

    def opinions(self, prompt: str, found: Result) -> dict[str, Any]:
        """The judge's and the hold-outs' totals for the winner and, as `base`, for the plain sample."""
        media = torch.stack([found.best.media, found.base.media])
        with torch.no_grad():
            verdict = self.judge(media, [prompt] * 2).total
            report = {name: judge(media, [prompt] * 2).total for name, judge in self.holdout.items()}
        winner, base = (
            {
                "judge": number(float(verdict[row])),
                "holdout": {name: number(float(total[row])) for name, total in report.items()},
            }
            for row in (0, 1)
        )
        return {**winner, "base": base}


def moved(model: Model, found: Result) -> float:
    """The nats that a search spent; NaN for tokens, whose noise is none to be moved."""
    if "tokens" in model.verbs:
        return math.nan
    return spent_nats(found.best.recipe, found.lineage, model.noise_shape)


def identity(pipeline: SearchPipeline) -> str:
    """A short name of everything that a method's bits depend on: its model, and the networks of all its judges."""
    panel = pipeline.panel
    hashes = judge_hashes(panel.guide, panel.select, *panel.holdout.values())
    learned = getattr(pipeline.knobs.get("propose"), "network", None)
    hashes |= {"propose": module_hash(learned)} if isinstance(learned, nn.Module) else {}
    parts = [pipeline.model.fingerprint(), hashes]
    return f"{derive(json.dumps(parts, sort_keys=True, default=str)):014x}"


def in_this_process(
    plan: Plan, benchmark: Benchmark, known: Mapping[str, str], todo: Sequence[Job], workers: int
) -> Iterator[tuple[Record, bytes]]:
    """Do the jobs one after the other; the caller's thread count holds again whenever it has control."""
    with threads(plan.threads):
        bench = Bench(plan, benchmark, known)
    for job in todo:
        with threads(plan.threads):
            done = bench.do(job)
        yield done


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- several processes


def in_processes(
    plan: Plan, benchmark: Benchmark, known: Mapping[str, str], todo: Sequence[Job], workers: int
) -> Iterator[tuple[Record, bytes]]:
    """Do the jobs in spawned processes, each with its own copy of the models; results come in the order of the jobs."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initialise, (plan, benchmark, known))
    try:
        yield from pool.map(do, todo)
    finally:
        pool.shutdown(cancel_futures=True)


_bench: list[Callable[[], Bench]] = []  # of a worker process


def initialise(plan: Plan, benchmark: Benchmark, known: Mapping[str, str]) -> None:
    """Prepare a worker process: one that ends with its parent and loads everything at its first job.

    Loading here instead would hide its errors: an executor reports a failed initialiser without saying why.
    """
    Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(plan.threads)
    _bench[:] = [cache(lambda: Bench(plan, benchmark, known))]


def end_with_parent() -> None:
    """Wait for the parent process to end, however it ends, and leave at once."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def do(job: Job) -> tuple[Record, bytes]:
    """One job in a worker process."""
    return _bench[0]().do(job)
