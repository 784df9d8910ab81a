"""`gensearch evaluate`: methods against each other on a benchmark, resumable, with paired intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gensearch.cli import evaluation_options as options
from gensearch.evaluate.blocks import Shard, parse_shard
from gensearch.evaluate.plan import Plan, make_plan
from gensearch.files.atomic import require_writable

if TYPE_CHECKING:
    from rich.console import Console

    from gensearch.evaluate.bench import Benchmark
    from gensearch.evaluate.runner import Stage


PRESET = {"shapes": "shapes_turbo", "moving": "shapes_video"}
ALL = 1_000_000  # prompts per tag, where a benchmark has no preset: as many as there are


def evaluate(
    benchmark: options.Benchmarks = "shapes",
    config: options.Config = None,
    method: options.Methods = None,
    prompts: options.Prompts = None,
    seeds: options.Seeds = None,
    balanced: options.Balanced = False,
    seed: options.Seed = None,
    baseline: options.Baseline = None,
    holdout: options.Holdout = None,
    out: options.Out = Path("runs/evaluate"),
    workers: options.Workers = 1,
    block: options.BlockSize = None,
    candidates: options.Candidates = False,
    shard: options.ShardText = "1/1",
    stage: options.Stages = options.StageName.both,
    retry: options.Retry = False,
    export: options.Exports = None,
    judge: options.Metric = None,
    prompts_file: options.PromptsFile = None,
    layout: options.Layout = None,
    no_canary: options.NoCanary = False,
    allow_noncommercial: options.Noncommercial = False,
    dry_run: options.DryRun = False,
    gpu: options.GPU = None,
    utilisation: options.Utilisation = 0.3,
    variance: options.Variance = None,
) -> None:
    """Compare methods on the same prompts and seeds and print a table with paired intervals.

    Example: gensearch evaluate shapes --method base=compute:1 --method best16=compute:16 --prompts 8 --out runs/first

    Keys of a method: model, options.*, verifier, select, panel, search, knobs.*, compute. A panel is a YAML file of
    verifiers with roles and weights; its hold-outs report on all methods. The verifier `random` and the
    search `unguided` are controls; a method that searches with the exact judge is marked as an oracle. Whatever stops
    a run, the same command goes on with it. Shards are merged by copying their folders into one.
    """
    from gensearch.evaluate.benchmarks.names import find

    part, out = parse_shard(shard), out.expanduser()
    known = find(benchmark, judge, prompts_file, holdout or (), not no_canary, allow_noncommercial)
    prompts = ALL if prompts is None and not config and benchmark not in PRESET else prompts
    config = config or (None if method else preset(benchmark))
    flags = {"allow_noncommercial": allow_noncommercial, "candidates": candidates, "balanced": balanced}
    given = {"prompts": prompts, "seeds": seeds, "seed": seed, "baseline": baseline, "holdout": holdout, "block": block}
    given |= {name: value or None for name, value in flags.items()} | {"holdout": holdout or None}
    plan = make_plan(config, method or (), per_prompt=known.per_prompt, **given)
    require_writable(out)
    if dry_run:
        show_dry_run(plan, known, gpu, utilisation, variance)
        return
    if gpu or variance:
        raise ValueError("--gpu and --variance belong to the forecast of a plan; add --dry-run")
    finish(plan, known, out, workers, shard=part, stage=stage.value, retry=retry)
    show_files(benchmark, plan, known, out, layout)
    if export:
        from gensearch.evaluate.index import export_parquet

        typer.echo(f"exported to {export_parquet(out)}")


def preset(benchmark: str) -> str:
    """The preset of a benchmark.

    Args:
        benchmark: Its name.

    Raises:
        ValueError: It has none.
    """
    if benchmark not in PRESET:
        raise ValueError(f"{benchmark} has no preset; give --config, or methods such as --method base=compute:1")
    return PRESET[benchmark]


def show_dry_run(plan: Plan, benchmark: Benchmark, gpu: str | None, utilisation: float, variance: Path | None) -> None:
    """Print a plan, its cost and its forecast; each generator is loaded once.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Where the prompts come from.
        gpu: A GPU by name, or None for no hours.
        utilisation: The share of its peak that is reached.
        variance: The folder of an earlier run, or None.

    Raises:
        ValueError: The GPU is unknown, the share out of range, or the folder holds no evaluation of two methods.
    """
    from rich.console import Console

    from gensearch.cli.evaluation_plan import show_plan
    from gensearch.evaluate.bench import once
    from gensearch.evaluate.forecast import forecast

    benchmark = benchmark._replace(model=once(benchmark.model))
    show_plan(plan, benchmark)
    console = Console(markup=False, emoji=False)  # names are taken literally
    for line in forecast(plan, benchmark, gpu, utilisation, variance.expanduser() if variance else None):
        console.print(line, soft_wrap=True)


def show_files(name: str, plan: Plan, benchmark: Benchmark, out: Path, layout: Path | None) -> None:
    """Write a table beside published scores for GenEval, and the pictures in the authors' layout if asked; say where.

    Args:
        name: Of the benchmark, as it was given.
        plan: Methods and prompts of a finished run.
        benchmark: Its prompts.
        out: The folder of the run.
        layout: Gets one folder of pictures for each method; None for none.
    """
    from gensearch.evaluate.benchmarks import layouts, parity, published
    from gensearch.evaluate.journal import records
    from gensearch.evaluate.layout import export, numbers_of
    from gensearch.files.atomic import write_atomic

    if benchmark.name.startswith("GenEval"):
        write_atomic(out / "parity.md", parity.of_run(benchmark.name, records(out)).encode())
        typer.echo(f"beside published scores, with the deviations: {out / 'parity.md'}")
    if layout is None:
        return
    target, lines, found = layout.expanduser(), benchmark.lines(plan.prompts), records(out)
    if name in published.NAMES:
        made = layouts.export(name, out, found, lines, target)
    else:
        made = export(out, found, lines, numbers_of(lines, benchmark.lines(ALL)), target)
    typer.echo(f"pictures for the authors' scripts: {', '.join(map(str, made))}")


def finish(
    plan: Plan,
    benchmark: Benchmark,
    out: Path,
    workers: int,
    *,
    shard: Shard = (1, 1),
    stage: Stage = "both",
    retry: bool = False,
) -> None:
    """Run what is missing in the folder, then write and print the summary; Ctrl-C keeps what is done.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Prompts and exact judge.
        out: The folder of results.
        workers: Processes, each with its own copy of the models, 1 or more.
        shard: Which part of the trials, from 1, of how many.
        stage: What to do.
        retry: Whether trials that have failed get another chance.

    Raises:
        ValueError: As `run_plan` does.
        Exit: 130 after Ctrl-C, 1 if a trial failed.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from gensearch.evaluate.journal import key, records
    from gensearch.evaluate.runner import failures, run_plan, trials
    from gensearch.evaluate.running import Running

    console = Console(markup=False, emoji=False)  # names are taken literally
    own = set(trials(plan, benchmark.lines(plan.prompts), shard))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (MofNCompleteColumn(), *times, TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(benchmark.name, total=len(own))
        try:
            work = run_plan(plan, benchmark, out, workers=workers, shard=shard, stage=stage, retry=retry)
            found = [record for record in records(out) if key(record) in own]
            running = Running(found)
            progress.update(task, completed=len(found))
            for record in work:
                running.add(record)
                progress.update(task, advance=1, description=str(running))
        except KeyboardInterrupt:
            done = sum(key(record) in own for record in records(out))
            console.print(f"stopped at {done} of {len(own)}; the same command goes on from here")
            raise typer.Exit(130) from None
    if stage == "generate":
        console.print(f"written to {out}: pictures, which wait for --stage judge", soft_wrap=True)
    else:
        show_summary(plan, benchmark, out, console)
    if failures(out):
        raise typer.Exit(1)


def show_summary(plan: Plan, benchmark: Benchmark, out: Path, console: Console) -> None:
    """Write summary.json, table.md and index.sqlite, and print the table."""
    from rich.table import Table

    from gensearch.evaluate.index import index
    from gensearch.evaluate.journal import records
    from gensearch.evaluate.table import summarise
    from gensearch.evaluate.text import caption, cells, markdown
    from gensearch.files.atomic import write_atomic

    found = records(out)
    summary = {"benchmark": benchmark.name, **summarise(plan, benchmark.judge().name, found)}
    if benchmark.summary:
        for name, method in summary["methods"].items():
            method["upstream"] = dict(benchmark.summary([record for record in found if record["method"] == name]))
    write_atomic(out / "summary.json", json.dumps(summary, indent=1).encode())
    write_atomic(out / "table.md", markdown(summary).encode())
    index(out)
    header, rows = cells(summary)
    table = Table(header[0], *(row[0] for row in rows))  # on its side: many scores, few methods
    for name, *values in list(zip(header, *rows, strict=True))[1:]:
        table.add_row(name, *values)
    console.print(table)
    console.print(caption(summary))
    for name, method in summary["methods"].items() if benchmark.summary else ():
        upstream = ", ".join(f"{key} {value:.4g}" for key, value in method["upstream"].items())
        console.print(f"{name} by the benchmark's own rule: {upstream}", soft_wrap=True)
    console.print(f"written to {out}: summary.json, table.md, results.jsonl, pictures", soft_wrap=True)
