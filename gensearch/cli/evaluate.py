"""`gensearch evaluate`: methods against each other on a benchmark, resumable, with paired intervals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensearch.evaluate.plan import Plan, make_plan
from gensearch.files.atomic import require_writable

if TYPE_CHECKING:
    from rich.console import Console

    from gensearch.evaluate.bench import Benchmark


class Name(StrEnum):
    """The benchmarks."""

    shapes = "shapes"
    moving = "moving"

    def benchmark(self) -> Benchmark:
        """What goes by that name."""
        from gensearch.evaluate.benchmarks.shapes import MOVING, SHAPES

        return {"shapes": SHAPES, "moving": MOVING}[self.value]


PRESET = {Name.shapes: "shapes_turbo", Name.moving: "shapes_video"}


def evaluate(
    benchmark: Annotated[Name, typer.Argument(help="What to measure on.")] = Name.shapes,
    config: Annotated[
        str | None, typer.Option(help="A preset or a YAML file (default without --method: that of the benchmark).")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="NAME=KEY:VALUE,... once for each method; added to those of the config.")
    ] = None,
    prompts: Annotated[int | None, typer.Option(help="Prompts per tag, at most (default: 48).")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per prompt (default: 1).")] = None,
    balanced: Annotated[
        bool,
        typer.Option("--balanced", help="More seeds for prompts of small tags, until all tags have as many images."),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="The root that all seeds come from (default: 0).")] = None,
    baseline: Annotated[str | None, typer.Option(help="What gains are over (default: the first method).")] = None,
    holdout: Annotated[list[str] | None, typer.Option(help="A verifier that only reports; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is continued.")] = Path(
        "runs/evaluate"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own copy of the models.")] = 1,
    allow_noncommercial: Annotated[
        bool, typer.Option("--allow-noncommercial", help="Take verifiers whose licence forbids commercial use.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, do nothing.")] = False,
) -> None:
    """Compare methods on the same prompts and seeds and print a table with paired intervals.

    Example: gensearch evaluate shapes --method base=compute:1 --method best16=compute:16 --prompts 8 --out runs/first

    Keys of a method: model, options.*, verifier, select, search, knobs.*, compute. The verifier `random` and the
    search `unguided` are controls; a method that searches with the exact judge is marked as an oracle. The folder gets
    results.jsonl, pictures, summary.json and table.md; whatever stops a run, the same command goes on with it.
    """
    options = {"prompts": prompts, "seeds": seeds, "seed": seed, "baseline": baseline, "holdout": holdout or None}
    options |= {"balanced": balanced or None, "allow_noncommercial": allow_noncommercial or None}
    plan = make_plan(config or (None if method else PRESET[benchmark]), method or (), **options)
    out = out.expanduser()
    require_writable(out)
    if dry_run:
        show_plan(plan, benchmark.benchmark())
        return
    finish(plan, benchmark.benchmark(), out, workers)


def show_plan(plan: Plan, benchmark: Benchmark) -> None:
    """Print what would run and what it would cost; of generators, only those that are at hand are loaded.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Where the prompts come from.

    Raises:
        ValueError: A method names a search that does not exist, or options that its model does not know.
    """
    from rich.console import Console
    from rich.table import Table

    from gensearch import registry
    from gensearch.engine.job import budget

    pairs = sum(plan.seeds_of([line["tag"] for line in benchmark.lines(plan.prompts)]))
    header = ("method", "model", "search", "guide", "selector", "budget in samples")
    budgets = {
        method.name: budget(registry.search(method.search), method.compute, method.knobs) for method in plan.methods
    }
    rows = []
    for method in plan.methods:
        each = budgets[method.name]
        cost = f"{each:g} x {pairs} = {each * pairs:g}" if each else "set by its knobs"
        rows.append((method.name, method.model, method.search, method.verifier, method.select or "guide", cost))
    constant = [column for column in (1, 4) if len({row[column] for row in rows}) == 1]
    kept = [column for column in range(len(header)) if column not in constant]
    table = Table(show_edge=False)
    for column in kept:
        table.add_column(header[column], no_wrap=column == 0, overflow="fold")  # nothing is cut, names stay whole
    for row in rows:
        table.add_row(*(row[column] for column in kept))
    console = Console(markup=False, emoji=False)  # names are taken literally
    console.print(table)
    for column in constant:
        console.print(f"{header[column]} of every method: {rows[0][column]}", soft_wrap=True)
    console.print(
        f"{benchmark.name}: {pairs} pairs of prompt and seed; hold-outs: {', '.join(plan.holdout) or 'none'}.",
        soft_wrap=True,
    )
    console.print(f"total: {total_cost(plan, benchmark, budgets, pairs)}", soft_wrap=True)


def total_cost(plan: Plan, benchmark: Benchmark, budgets: Mapping[str, float | None], pairs: int) -> str:
    """The cost of all methods together, in words.

    Args:
        plan: The methods.
        benchmark: What loads their models.
        budgets: What each method may spend on one pair, in multiples of one sample's cost; None if its knobs decide.
        pairs: Pairs of prompt and seed, 1 or more.
    """
    from gensearch import registry
    from gensearch.core.ledger import Cost
    from gensearch.core.price import price

    known, units = registry.models(), dict[str, Cost]()
    counted, open_ended, elsewhere = Counter[str](), [], set()
    for method in plan.methods:
        each, key = budgets[method.name], f"{method.model} {method.options}"
        at_hand = known.get(method.model) == "embedded" or method.model.startswith("toy/")
        if each is None:
            open_ended.append(method.name)
        elif not at_hand:  # a dry run downloads nothing
            elsewhere.add(method.model)
        else:
            if key not in units:
                units[key] = price(benchmark.model(method.model, **method.options))
            counted["tokens" if units[key].tokens else "NFE"] += int(each * units[key].work) * pairs
    parts = [f"at most {' and '.join(f'{value:,} {unit}' for unit, value in counted.items())}"] if counted else []
    parts += [f"without {', '.join(open_ended)}, whose knobs set the cost"] if open_ended else []
    parts += [f"without what runs on {', '.join(sorted(elsewhere))}, which is not loaded here"] if elsewhere else []
    return "; ".join(parts)


def finish(plan: Plan, benchmark: Benchmark, out: Path, workers: int) -> None:
    """Run what is missing in the folder, then write and print the summary; Ctrl-C keeps what is done.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Prompts and exact judge.
        out: The folder of results.
        workers: Processes, each with its own copy of the models, 1 or more.

    Raises:
        ValueError: As `run_plan` does.
        Exit: 130 after Ctrl-C, 1 if a trial failed.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gensearch.evaluate.journal import records
    from gensearch.evaluate.runner import failures, run_plan, trials

    console = Console(markup=False, emoji=False)  # names are taken literally
    total = len(trials(plan, benchmark.lines(plan.prompts)))
    columns = (TextColumn("{task.description}", markup=False), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(benchmark.name, total=total)
        try:
            work = run_plan(plan, benchmark, out, workers=workers)
            progress.update(task, completed=len(records(out)))
            for record in work:
                progress.update(task, advance=1, description=f"{record['method']}: {record['text'][:48]}")
        except KeyboardInterrupt:
            console.print(f"stopped at {len(records(out))} of {total}; the same command goes on from here")
            raise typer.Exit(130) from None
    show_summary(plan, benchmark, out, console)
    if failures(out):
        raise typer.Exit(1)


def show_summary(plan: Plan, benchmark: Benchmark, out: Path, console: Console) -> None:
    """Write summary.json and table.md and print the table."""
    from rich.table import Table

    from gensearch.evaluate.journal import records
    from gensearch.evaluate.table import caption, cells, markdown, summarise
    from gensearch.files.atomic import write_atomic

    summary = {"benchmark": benchmark.name, **summarise(plan, benchmark.judge().name, records(out))}
    write_atomic(out / "summary.json", json.dumps(summary, indent=1).encode())
    write_atomic(out / "table.md", markdown(summary).encode())
    header, rows = cells(summary)
    table = Table(header[0], *(row[0] for row in rows))  # on its side: many scores, few methods
    for name, *values in list(zip(header, *rows, strict=True))[1:]:
        table.add_row(name, *values)
    console.print(table)
    console.print(caption(summary))
    console.print(f"written to {out}: summary.json, table.md, results.jsonl, pictures", soft_wrap=True)
