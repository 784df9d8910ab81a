"""What an evaluation runs on, loaded once for all its methods, and how one trial is done."""

from __future__ import annotations

import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from gensearch import registry
from gensearch.core.errors import one_line
from gensearch.core.noise import derive
from gensearch.core.result import Result
from gensearch.core.types import Model, Search
from gensearch.engine.job import Job
from gensearch.engine.law import law
from gensearch.engine.run import result, start
from gensearch.evaluate.journal import Record, Trial
from gensearch.evaluate.plan import Plan
from gensearch.files.images import encode, to_pixels
from gensearch.models.fingerprint import module_hash, verifier_hashes
from gensearch.resolve import for_prompt, resolve
from gensearch.runs.records import number
from verifiers.adapt import ask
from verifiers.combine import leaf_names
from verifiers.names import leaf_names as names_in
from verifiers.types import Verifier


class Benchmark(NamedTuple):
    """What an evaluation runs on; only functions of modules, so that it can be sent to other processes."""

    name: str
    lines: Callable[[int], Sequence[Mapping[str, Any]]]  # at most so many prompts per tag: `tag` and `prompt`
    judge: Callable[[], Verifier]  # the exact judge, whose verdict is the metric
    oracles: frozenset[str]  # names of verifiers that know the exact judge's verdict
    model: Callable[..., Model] = registry.load_model  # source and options -> model
    verifier: Callable[..., Verifier] = registry.verifier  # name -> verifier
    search: Callable[[str], Search] = registry.search  # name -> search


class Bench:
    """The loaded models and verifiers of one process: each once, whatever the number of methods that share it."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        lines: Sequence[Mapping[str, Any]],
        judge: Verifier,
        holdout: Mapping[str, Verifier],
        *,
        oracles: frozenset[str] = frozenset(),
        seed: int = 0,
    ) -> None:
        """Take what was loaded; hold-outs score the two samples of each trial once, outside the clock and the ledger.

        Args:
            jobs: What each method runs, by its name. Hold-outs of their panels are not asked.
            lines: The prompts, each with its `tag`.
            judge: The exact judge, whose verdict is the metric.
            holdout: Verifiers that only report, by the names that records give them.
            oracles: Names of verifiers that know the exact judge's verdict.
            seed: The root that all seeds come from, 0 to 2^53 - 1.
        """
        self.jobs, self.lines, self.judge, self.holdout, self.seed = jobs, lines, judge, holdout, seed
        self.identities = {name: identity(job) for name, job in jobs.items()}
        seen = {name: leaf_names(job.panel.guide, job.panel.select) for name, job in jobs.items()}
        self.oracles = {name for name in seen if seen[name] & oracles}

    @classmethod
    def load(cls, plan: Plan, benchmark: Benchmark, known: Mapping[str, str]) -> Bench:
        """Load everything and refuse, before anything is spent, what some method could not run.

        Args:
            plan: Methods, hold-outs, prompts and seeds.
            benchmark: What the plan's names stand for.
            known: Identities of the methods that have results already: what made those must make the rest.

        Raises:
            ValueError: A name, a knob or a role is unfit, or a model or a verifier changed since the known results.
        """
        judge = benchmark.judge()
        allowed = {"allow_noncommercial": True} if plan.allow_noncommercial else {}
        verifier = cache(lambda name: name if "self" in names_in(name) else benchmark.verifier(name, **allowed))
        model = cache(lambda source, options: benchmark.model(source, **json.loads(options)))
        holdout = {name: verifier(name) for name in plan.holdout}
        jobs = {}
        for method in plan.methods:
            try:
                jobs[method.name] = resolve(
                    model(method.model, json.dumps(method.options, sort_keys=True)),
                    verifier(method.verifier),
                    benchmark.search(method.search),
                    knobs=method.knobs,
                    compute=method.compute,
                    select=verifier(method.select) if method.select else None,
                    holdout=list(holdout.values()),
                    propose=method.propose,
                    allow_noncommercial=plan.allow_noncommercial,
                )
            except ValueError as error:
                raise ValueError(f"method {method.name!r}: {error}") from error
        lines = benchmark.lines(plan.prompts)
        bench = cls(jobs, lines, judge, holdout, oracles=benchmark.oracles, seed=plan.seed)
        if changed := [name for name, made_by in known.items() if bench.identities.get(name) != made_by]:
            raise ValueError(
                f"the model or a judge of {', '.join(changed)} changed since the folder's results; take another --out"
            )
        return bench

    def do(self, trial: Trial) -> tuple[Record, bytes]:
        """Search, score the winner and the plain sample, and return the record with the winner's PNG.

        Args:
            trial: Which method, prompt and seed.

        Raises:
            ValueError: No sample could be scored, or the prompt does not fit.
            BudgetSpent: The budget cannot finish one sample.
            RuntimeError: An exception ended the search early; its result has not the cost of the others.
        """
        started = time.perf_counter()
        line, job = self.lines[trial.prompt], self.jobs[trial.method]
        prompt = line["prompt"]
        root = derive(self.seed, prompt, trial.seed)  # never depends on the method
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the search ended early")
            last = deque(start(for_prompt(job, prompt), prompt, root), maxlen=1)
        found = result(last[0] if last else None)
        if found.error:
            raise RuntimeError(f"{found.error} (after {len(found.curve)} finished samples)")
        seconds = time.perf_counter() - started
        record = {
            **trial._asdict(),
            "tag": line["tag"],
            "text": prompt,
            "identity": self.identities[trial.method],
            "root": root,
            "oracle": trial.method in self.oracles,
            **self.verdicts(prompt, found),
            "score": number(found.best.score),
            "recipe": found.best.recipe,
            **{name: number(value) for name, value in law(job, prompt, found)._asdict().items()},
            "spent": found.ledger.spent._asdict(),
            "padding": found.ledger.padding._asdict(),
            "unscored": found.unscored,
            "stopped": found.stopped,
            "election": found.election._asdict() if found.election else None,
            "seconds": round(seconds, 4),
            "picture": f"pictures/{trial.method}/{trial.prompt:04}-{trial.seed}.png",
        }
        return record, encode(to_pixels(found.best.media))

    def failed(self, trial: Trial, error: Exception) -> Record:
        """The record of a trial that raised an error.

        Args:
            trial: Which method, prompt and seed.
            error: What it raised.
        """
        line = self.lines[trial.prompt]
        return {**trial._asdict(), "tag": line["tag"], "text": line["prompt"], "error": one_line(error)}

    def verdicts(self, prompt: str, found: Result) -> dict[str, Any]:
        """The exact judge's and the hold-outs' totals for the winner and, as `base`, for the plain sample."""
        media = torch.stack([found.best.media, found.base.media])
        with torch.no_grad():
            verdict = ask(self.judge, media, [prompt] * 2).total
            report = {name: ask(verifier, media, [prompt] * 2).total for name, verifier in self.holdout.items()}
        winner, base = (
            {
                "judge": number(float(verdict[row])),
                "holdout": {name: number(float(total[row])) for name, total in report.items()},
            }
            for row in (0, 1)
        )
        return {**winner, "base": base}


def identity(job: Job) -> str:
    """A short name of everything that a method's bits depend on: its model, and the networks of all its verifiers.

    Args:
        job: What the method runs.
    """
    panel = job.panel
    hashes = verifier_hashes(panel.guide, panel.select, *panel.holdout.values())
    learned = getattr(job.propose, "network", None)
    hashes |= {"propose": module_hash(learned)} if isinstance(learned, nn.Module) else {}
    parts = [job.model.fingerprint(), hashes]
    return f"{derive(json.dumps(parts, sort_keys=True, default=str)):014x}"
