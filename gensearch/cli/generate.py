"""`gensearch generate`: search on one prompt, into one folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensearch.config.make import make_config, split
from gensearch.config.panel import read_panel
from gensearch.config.run import RunConfig
from gensearch.runs.folder import RunFolder, default_folder
from gensearch.runs.format import charged, column, read_json, remarks

if TYPE_CHECKING:
    from gensearch.core.result import Progress
    from gensearch.pipeline import SearchPipeline


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What the picture should show.")] = None,
    model: Annotated[str | None, typer.Option(help="A name or a folder (default: shapes/turbo).")] = None,
    verifier: Annotated[str | None, typer.Option(help="A name or module:object (default: the model's own).")] = None,
    search: Annotated[str | None, typer.Option(help="A name or module:object (default: best_of_n).")] = None,
    compute: Annotated[
        float | None,
        typer.Option(help="Budget in multiples of one sample's cost in NFE (default: 16, unless a knob bounds it)."),
    ] = None,
    propose: Annotated[
        str | None, typer.Option(help="A noise hypernetwork to start from, NAME or GAIN*NAME (default: plain noise).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random comes from it (default: 0).")] = None,
    knob: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the search; may be repeated.")] = None,
    select: Annotated[str | None, typer.Option(help="A verifier that picks the winner instead of the guide.")] = None,
    holdout: Annotated[list[str] | None, typer.Option(help="A verifier that only reports; may be repeated.")] = None,
    panel: Annotated[
        Path | None, typer.Option(help="A YAML file of verifiers with roles, weights, shifts and scales.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Network steps of one sample (default: the model's own).")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale (default: the model's own).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Largest physical batch (a power of two).")] = None,
    config: Annotated[str | None, typer.Option(help="A preset or a YAML file; options win over it.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE or options.NAME=VALUE; wins over everything.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<time>-<hash>).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, make nothing.")] = False,
    allow_noncommercial: Annotated[
        bool, typer.Option("--allow-noncommercial", help="Take verifiers whose licence forbids commercial use.")
    ] = False,
    no_guard: Annotated[bool, typer.Option("--no-guard", help="Do not check for over-optimisation.")] = False,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Keep the recipe out of the PNG files.")] = False,
) -> None:
    """Search for the best picture of a prompt.

    Example: gensearch generate "a photo of two red stars" --search best_of_n --knob n=8 --holdout shapes/clip-holdout

    Ctrl-C keeps the best so far. The same command goes on with an unfinished folder (from the start, checking that
    the recorded rounds repeat bit for bit) and reuses a finished one.
    """
    loading = {"steps": steps, "guidance_scale": guidance, "batch_size": batch_size}
    wanted = make_config(
        config,
        sets or (),
        **{"prompt": prompt, "model": model, "verifier": verifier, "search": search, "compute": compute, "seed": seed},
        **{"select": select, "propose": propose},
        holdout=holdout or None,
        guard=False if no_guard else None,
        verifiers=read_panel(panel) if panel else None,
        metadata=False if no_metadata else None,
        allow_noncommercial=allow_noncommercial or None,
        knobs=dict(split(text, "--knob", "n=8") for text in knob or ()),
        options={name: value for name, value in loading.items() if value is not None},
    )
    follow(RunFolder((out or default_folder(wanted)).expanduser(), wanted), dry_run)


def follow(folder: RunFolder, dry_run: bool) -> None:
    """Do what the config of a folder says, unless it is done already; or only print the plan and its cost."""
    from gensearch.pipeline import SearchPipeline
    from gensearch.resolve import for_prompt

    pipe = SearchPipeline.from_config(folder.config)
    if dry_run:
        from gensearch.estimate import show_plan

        show_plan(for_prompt(pipe.job, folder.config.prompt), folder)
    elif folder.done:
        folder.refuse_changes(pipe.model)
        typer.echo("this run is finished already; its files are reused")
        show_files(folder)
    else:
        go(pipe, folder)


def go(pipe: SearchPipeline, folder: RunFolder) -> None:
    """Search, record every round, publish the result; Ctrl-C publishes the best so far and exits 130, an error 1.

    Args:
        pipe: What searches.
        folder: Where the run goes; its config names the prompt and the seed.

    Raises:
        ValueError: The prompt or the budget is unfit, before the folder is made; or recorded rounds do not repeat.
        BudgetSpent: The budget cannot finish one sample, before the folder is made.
        Exit: 130 after Ctrl-C, 1 after an exception in a late round.
    """
    from gensearch.engine.run import result

    config = folder.config
    rounds = pipe.stream(config.prompt, config.seed)  # refuses a bad budget before the folder is made
    progress, closed = None, False
    with folder.claimed(pipe.model):
        with live(config) as show, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the search ended early")  # it is said below
            try:
                for step in rounds:
                    folder.add(step)
                    progress = step
                    show(step)
            except KeyboardInterrupt:
                closed = True
        if closed and (progress is None or progress.best is None):
            typer.echo("error: interrupted before a sample was finished and scored", err=True)
            raise typer.Exit(130)
        output = pipe.output(config.prompt, result(progress, closed))
        folder.finish(output.result, output.holdout, pipe.model, output.guard, output.aside)
    if closed:
        typer.echo("interrupted: this is the best so far; the same command with this --out finishes it", err=True)
    show_files(folder)
    if error := output.result.error:
        typer.echo(
            f"error: {error}; this is the best so far, the traceback is in {folder.path / 'error.txt'}, and the same "
            "command with this --out goes on",
            err=True,
        )
        raise typer.Exit(1)
    if closed:
        raise typer.Exit(130)


@contextmanager
def live(config: RunConfig) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on stderr, and the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(config.search, total=None)

        def show(step: Progress) -> None:
            best = f"{step.best.score:.4g}" if step.best else "none yet"
            spent = step.ledger.spent
            bar.update(task, completed=spent.work, total=step.ledger.limit.get("work"))
            bar.update(task, description=f"{config.search}: best {best}, {spent.nfe} nfe")

        yield show


def show_files(folder: RunFolder) -> None:
    """The last lines of a command: what came of it, and where it is."""
    from gensearch.core.guard import read_guard, summary
    from gensearch.core.result import Election, Motion

    result = read_json(folder.path / "result.json")
    try:
        unit = column(result["ledger"]["spent"])
        best, base, spent = result["best"]["score"], result["base"]["score"], result["ledger"]["spent"][unit]
        padding, paid = result["ledger"]["padding"][unit], charged(result["ledger"]["spent"])
        held_out = [(name, winner, plain) for name, (winner, plain) in result["holdout"].items()]
        motion = Motion(**result["motion"]) if result.get("motion") else None
        election = Election(**result["election"]) if result.get("election") else None
        guard = read_guard(result["guard"]) if result.get("guard") else None
        notes, beside = remarks(result), charged(result.get("aside") or {})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder.path / 'result.json'} is damaged; take another --out, or delete the folder"
        ) from None
    filled = f" and {padding} of padding" if padding else ""
    typer.echo(f"score {best} (first finished sample: {base}), {spent} {unit}{filled}{f', {paid}' if paid else ''}")
    if election:
        typer.echo(f"election: {election}")
    for name, winner, plain in held_out:
        typer.echo(f"hold-out {name}: {winner} (first finished sample: {plain})")
    if beside:
        typer.echo(f"hold-outs took {beside}, beside the budget")
    for line in summary(guard, bool(held_out)) if guard else ():
        typer.echo(line, err=line.startswith("warning: "))
    for note in notes:
        typer.echo(f"note: {note}")
    if motion and motion.still:
        typer.echo(
            f"warning: the winner moves {motion.winner / motion.leaves:.2f} times as much as its search's clips on "
            "average; the verifier may prefer still clips",
            err=True,
        )
    typer.echo(f"picture: {folder.path / 'best.png'}")
    typer.echo(f"report:  {folder.path / 'report.html'}")
