"""Several folders of evaluations as one: the same prompts and seeds, and all their methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gensearch.evaluate.candidates import Candidates, read_candidates
from gensearch.evaluate.journal import FAILED, PLAN, Record, records
from gensearch.evaluate.plan import Method, Plan, validate
from gensearch.files.atomic import read_lines
from gensearch.runs.format import read_json


class Run(NamedTuple):
    """One folder as it was read.

    Attributes:
        folder: Of the evaluation.
        benchmark: What it measured on.
        judge: The exact judge, as its summary names it.
        plan: Methods, prompts and seeds.
        records: Of its finished trials.
        failed: Trials that raised an error.
    """

    folder: Path
    benchmark: str
    judge: str
    plan: Plan
    records: list[Record]
    failed: int


class Merged(NamedTuple):
    """Evaluations as one. Prompts and seeds are numbered anew, by their text and by the root of their noise.

    Attributes:
        benchmark: What all of them measured on.
        judge: The exact judge.
        plan: Of all methods, under names that are unique.
        records: With those names and numbers, and the `folder` that each is from.
        candidates: Of the trials whose finished samples were stored, likewise.
        notes: What a reader should know about the runs.
    """

    benchmark: str
    judge: str
    plan: Plan
    records: list[Record]
    candidates: list[Candidates]
    notes: list[str]


def read_run(folder: Path) -> Run:
    """A folder that `gensearch evaluate` wrote.

    Args:
        folder: Of a finished or unfinished evaluation.

    Raises:
        ValueError: It holds no evaluation, or a damaged one.
    """
    if not (folder / PLAN).is_file():
        raise ValueError(f"{folder} holds no {PLAN}; give folders that `gensearch evaluate --out` wrote")
    data = read_json(folder / PLAN)
    plan = validate(Plan, {key: value for key, value in data.items() if key in Plan.model_fields})
    summary = folder / "summary.json"
    judge = read_json(summary).get("judge", "") if summary.is_file() else ""
    found = records(folder)
    if not found:
        raise ValueError(f"{folder} has no results yet; run its `gensearch evaluate` command again to go on")
    failed = len(read_lines(folder / FAILED))
    return Run(folder, data.get("benchmark", "?"), judge or "exact judge", plan, found, failed)


def merge(folders: Sequence[Path], baseline: str = "") -> Merged:
    """Join evaluations of one benchmark; shards of a run count as one, and different methods of one name stay apart.

    Args:
        folders: Of one evaluation or more.
        baseline: The method that others are compared with; by default that of the first run.

    Raises:
        ValueError: A folder is no evaluation, benchmarks differ, or there is no such method.
    """
    runs = [read_run(folder) for folder in folders]
    if len({run.benchmark for run in runs}) > 1:
        said = ", ".join(f"{run.folder} on {run.benchmark}" for run in runs)
        raise ValueError(f"the runs are on different benchmarks ({said}); compare runs of one benchmark")
    names = labels(runs)
    methods = dict[str, Method]()
    for place, run in enumerate(runs):
        for method in run.plan.methods:
            label = names[place, method.name]
            methods.setdefault(label, method.model_copy(update={"name": label}))
    reference = baseline or names[0, runs[0].plan.reference]
    if reference not in methods:
        raise ValueError(f"the baseline {reference!r} is not a method; take one of {', '.join(methods)}")
    held = dict.fromkeys(name for run in runs for name in run.plan.holdout)
    update = {"methods": tuple(methods.values()), "holdout": tuple(held), "baseline": reference}
    plan = runs[0].plan.model_copy(update=update)
    merged, keys = renumbered(runs, names, plan)
    given = [
        one._replace(method=names[place, one.method], prompt=key[0], seed=key[1])
        for place, run in enumerate(runs)
        for one in read_candidates(run.folder)
        if (key := keys.get((place, one.prompt, one.seed))) and (place, one.method) in names
    ]
    unique = {(one.method, one.prompt, one.seed): one for one in given}
    judge = next((run.judge for run in runs if run.judge != "exact judge"), "exact judge")
    return Merged(runs[0].benchmark, judge, plan, merged, list(unique.values()), notes(runs, plan, merged))


def labels(runs: Sequence[Run]) -> dict[tuple[int, str], str]:
    """A name for each method of each run: its own, with that of the run before it where others have another such."""
    makers: dict[str, set[Any]] = {}
    for run in runs:
        for method in run.plan.methods:
            by = {record["identity"] for record in run.records if record["method"] == method.name}
            makers.setdefault(method.name, set()).update((method.model_dump_json(), each) for each in by)
    folders = [run.folder.name or str(run.folder) for run in runs]
    short = [name if Counter(folders)[name] == 1 else str(run.folder) for name, run in zip(folders, runs, strict=True)]
    return {
        (place, name): name if len(makers[name]) < 2 else f"{short[place]}/{name}"
        for place, run in enumerate(runs)
        for name in (method.name for method in run.plan.methods)
    }


def renumbered(
    runs: Sequence[Run], names: dict[tuple[int, str], str], plan: Plan
) -> tuple[list[Record], dict[tuple[int, int, int], tuple[int, int]]]:
    """Records of all runs under their new names and numbers, and (run, prompt, seed) -> the new (prompt, seed)."""
    prompts: dict[str, int] = {}
    seeds: dict[tuple[int, int], int] = {}
    keys, found = dict[tuple[int, int, int], tuple[int, int]](), dict[tuple[str, int, int], Record]()
    for place, run in enumerate(runs):
        for record in run.records:
            prompt = prompts.setdefault(record.get("text", str(record["prompt"])), len(prompts))
            root: int = record["root"] if "root" in record else record["seed"]
            seed = seeds.setdefault((prompt, root), sum(p == prompt for p, _ in seeds))
            keys[place, record["prompt"], record["seed"]] = (prompt, seed)
            label = names[place, record["method"]]
            held = {name: record["holdout"].get(name) for name in plan.holdout}
            new = {"method": label, "prompt": prompt, "seed": seed, "holdout": held, "folder": run.folder}
            found.setdefault((label, prompt, seed), {**record, **new})
    return list(found.values()), keys


def notes(runs: Sequence[Run], plan: Plan, merged: Sequence[Record]) -> list[str]:
    """What is missing or differs between runs, a sentence each."""
    said = []
    done = Counter((record["prompt"], record["seed"]) for record in merged)
    part = sum(count < len(plan.methods) for count in done.values())
    if part:
        said.append(f"{part} of {len(done)} pairs of prompt and seed are not finished with all methods and left out.")
    said += [f"{run.failed} trials of {run.folder} failed, see {FAILED}." for run in runs if run.failed]
    machines = {read_json(run.folder / PLAN).get("torch") for run in runs}
    if len(machines) > 1:
        said.append(f"The runs were made with different versions of torch ({', '.join(sorted(map(str, machines)))}).")
    return said
