"""What an evaluation runs on, loaded once for all its methods, and how a block of its trials is done."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from gensearch import registry
from gensearch.core.errors import one_line
from gensearch.core.noise import derive
from gensearch.core.types import Model, Search
from gensearch.engine.job import Job
from gensearch.engine.run import result, start
from gensearch.evaluate.joint import Joint
from gensearch.evaluate.journal import TRIES, Record, Trial
from gensearch.evaluate.jury import Jury
from gensearch.evaluate.lockstep import Ask, lockstep
from gensearch.evaluate.made import Made, stored
from gensearch.evaluate.outcome import Found, Samples, identity, made, trial_id
from gensearch.evaluate.plan import Method, Plan
from gensearch.evaluate.proxies import joinable, shared
from gensearch.resolve import Roles, for_prompt, resolve, seated
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
    per_prompt: int = 1  # pictures per prompt that the benchmark's convention asks for: the default of `seeds`
    summary: Callable[[Sequence[Record]], Mapping[str, float]] | None = None  # upstream's, of one method's records


class Bench:
    """The loaded models and verifiers of one process: each once, whatever the number of methods that share it."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        lines: Sequence[Mapping[str, Any]],
        jury: Jury,
        *,
        oracles: frozenset[str] = frozenset(),
        seed: int = 0,
        candidates: bool = False,
    ) -> None:
        """Take what was loaded.

        Args:
            jobs: What each method runs, by its name. Hold-outs of their panels are not asked.
            lines: The prompts, each with its `tag`.
            jury: Judges what is made here, perhaps elsewhere.
            oracles: Names of verifiers that know the exact judge's verdict.
            seed: The root that all seeds come from, 0 to 2^53 - 1.
            candidates: Whether to keep every finished sample for the jury.
        """
        self.jobs, self.lines, self.jury, self.seed, self.candidates = jobs, lines, jury, seed, candidates
        self.identities = {name: identity(job) for name, job in jobs.items()}
        seen = {name: leaf_names(job.panel.guide, job.panel.select) for name, job in jobs.items()}
        self.oracles = {name for name in seen if seen[name] & oracles}
        self._joint = Joint()

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
        verifier = verifiers_of(plan, benchmark)
        model = once(benchmark.model)
        jury = Jury(benchmark.judge(), {name: verifier(name) for name in plan.holdout})
        jobs = {}
        for method in plan.methods:
            try:
                jobs[method.name] = resolve(
                    model(method.model, **method.options),
                    None if method.verifiers else verifier(method.verifier),
                    benchmark.search(method.search),
                    knobs=method.knobs,
                    compute=method.compute,
                    **roles(method, verifier, list(jury.holdout.values())),
                    propose=method.propose,
                    allow_noncommercial=plan.allow_noncommercial,
                )
            except ValueError as error:
                raise ValueError(f"method {method.name!r}: {error}") from error
        lines = benchmark.lines(plan.prompts)
        bench = cls(jobs, lines, jury, oracles=benchmark.oracles, seed=plan.seed, candidates=plan.candidates)
        if changed := [name for name, made_by in known.items() if bench.identities.get(name) != made_by]:
            raise ValueError(
                f"the model or a verifier of {', '.join(changed)} changed since the folder's results; take another "
                "--out"
            )
        return bench

    def make(self, trials: Sequence[Trial]) -> list[Made]:
        """Search on some prompts in lockstep; a trial that fails is tried again alone, and then recorded as failed.

        Args:
            trials: Of one method.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the search ended early")
            found = self._searched(trials)
            return [self._insist(trial, *outcome) for trial, outcome in zip(trials, found, strict=True)]

    def _insist(self, trial: Trial, outcome: Found | Exception, seconds: float) -> Made:
        tries = 1
        while isinstance(outcome, Exception) and tries < TRIES:
            (outcome, seconds), tries = self._searched([trial])[0], tries + 1
        line, root = self.lines[trial.prompt], self.root(trial)
        about = {**trial._asdict(), "tag": line["tag"], "text": line["prompt"]}
        if isinstance(outcome, Exception):
            return Made({**about, "error": one_line(outcome), "tries": tries}, np.zeros((0,), np.uint8))
        made_by = self.identities[trial.method]
        about |= {"id": trial_id(self.jobs[trial.method], made_by, line["prompt"], root), "identity": made_by}
        about |= {"jury": self.jury.identity, "root": root, "oracle": trial.method in self.oracles}
        return made(about, self.jobs[trial.method], outcome, seconds)

    def _searched(self, trials: Sequence[Trial]) -> list[tuple[Found | Exception, float]]:
        works = [partial(self._search, trial) for trial in trials]
        if joinable(self.jobs[trials[0].method].model):
            return lockstep(works, self._joint)
        return [alone(work) for work in works]

    def _search(self, trial: Trial, ask: Ask | None = None) -> Found:
        """One search, whose networks run with those of others where `ask` takes their calls.

        Raises:
            ValueError: No sample could be scored, or the prompt does not fit.
            BudgetSpent: The budget cannot finish one sample.
            RuntimeError: An exception ended the search early; its result has not the cost of the others.
        """
        prompt = self.lines[trial.prompt]["prompt"]
        job = for_prompt(self.jobs[trial.method], prompt)
        last, samples = None, []
        for last in start(shared(job, ask) if ask else job, prompt, self.root(trial)):
            if self.candidates and last.round.done:
                media = last.round.media
                samples.append(Samples(stored(media), media.flatten(1).isfinite().all(1).tolist()))
        found = result(last)
        if found.error:
            raise RuntimeError(f"{found.error} (after {len(found.curve)} finished samples)")
        return Found(found, samples)

    def root(self, trial: Trial) -> int:
        """The seed of a trial, which never depends on the method.

        Args:
            trial: Which prompt and seed.
        """
        return derive(self.seed, self.lines[trial.prompt]["prompt"], trial.seed)


def roles(method: Method, verifier: Callable[[str], Any], holdout: Sequence[Any]) -> dict[str, Any]:
    """The verifiers of a method beside its guide, or all of them where they have weights.

    Args:
        method: Of a plan.
        verifier: From a name to a verifier.
        holdout: Those of the plan.
    """
    if method.verifiers:
        return {"panel": seated(Roles(method.verifier, method.select, holdout, method.verifiers), verifier)}
    return {"select": verifier(method.select) if method.select else None, "holdout": holdout}


def once(load: Callable[..., Model]) -> Callable[..., Model]:
    """What loads generators, each once for the same options.

    Args:
        load: From a source and options to a generator.
    """
    kept = cache(lambda source, options: load(source, **json.loads(options)))
    return lambda source, **options: kept(source, json.dumps(options, sort_keys=True))


def verifiers_of(plan: Plan, benchmark: Benchmark) -> Callable[[str], Any]:
    """What makes a plan's verifiers from their names, each once.

    Args:
        plan: Which licences are allowed.
        benchmark: What names stand for.
    """
    allowed = {"allow_noncommercial": True} if plan.allow_noncommercial else {}
    return cache(lambda name: name if "self" in names_in(name) else benchmark.verifier(name, **allowed))


def load_jury(plan: Plan, benchmark: Benchmark) -> Jury:
    """The exact judge and the hold-outs of a plan, without its models.

    Args:
        plan: The hold-outs.
        benchmark: What their names stand for.
    """
    verifier = verifiers_of(plan, benchmark)
    return Jury(benchmark.judge(), {name: verifier(name) for name in plan.holdout})


def alone(work: Callable[[], Found]) -> tuple[Found | Exception, float]:
    """What one search returns, or the exception that it raises, and its seconds.

    Args:
        work: The search.
    """
    began = time.perf_counter()
    try:
        return work(), time.perf_counter() - began
    except Exception as error:  # the other trials do not depend on it
        return error, time.perf_counter() - began
