"""`gensearch judge`: verdicts on a folder of pictures in GenEval's layout, whoever made them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensearch.files.atomic import require_writable, write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from gensearch.evaluate.journal import Record
    from gensearch.evaluate.judging import Judge


class Rules(StrEnum):
    """What pictures are judged by."""

    geneval = "geneval"
    shapes = "shapes"


def judge(
    rules: Annotated[Rules, typer.Argument(help="What the pictures are judged by.")],
    folder: Annotated[Path, typer.Argument(help="NNNNN/metadata.jsonl and NNNNN/samples/*.png for each prompt.")],
    verifier: Annotated[
        str | None, typer.Option("--judge", help="geneval:DETECTOR or geneval:DETECTOR@WEIGHTS, for geneval.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSONL file of verdicts (default: FOLDER/results.jsonl).")] = None,
    published: Annotated[
        str | None, typer.Option(help="The model that made the pictures, to compare with its published scores.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the judge runs (default: the GPU if there is one).")] = None,
    no_canary: Annotated[
        bool, typer.Option("--no-canary", help="Do not ask the judge about known pictures first.")
    ] = False,
    allow_noncommercial: Annotated[
        bool, typer.Option("--allow-noncommercial", help="Take a judge whose licence forbids commercial use.")
    ] = False,
) -> None:
    """Judge pictures that anyone made, one JSON line each, and sum up as GenEval does; the same command resumes.

    Example: gensearch judge geneval pictures/sdxl --judge geneval:mask2former@weights/m2f --published SDXL

    Beside the verdicts it writes a summary (.summary.json) and, for geneval, a table with published scores and the
    deviations from the original (.parity.md). The verdicts can be read by the original summary_scores.py. Pictures that
    cannot be read are named, and the exit code is 1.
    """
    from rich.console import Console

    from gensearch.evaluate.benchmarks.parity import check_published
    from gensearch.evaluate.judging import judge_pictures
    from gensearch.evaluate.layout import read

    if published:
        check_published(published)
    folder = folder.expanduser()
    pictures, bare = read(folder)
    out = (out or folder / "results.jsonl").expanduser()
    require_writable(out.parent)
    chosen = (
        geneval(verifier, device, not no_canary, allow_noncommercial) if rules is Rules.geneval else shapes(verifier)
    )
    console = Console(markup=False, emoji=False)
    work = track(judge_pictures(pictures, chosen, out), len(pictures), out, console)
    broken = [record["error"] for record in work if "error" in record]
    show(out, rules, published, console)
    for problem in broken:
        typer.echo(f"left out: {problem}", err=True)
    if bare:
        typer.echo(f"{len(bare)} prompts have no picture: {', '.join(bare[:8])}", err=True)
    if broken:
        raise typer.Exit(1)


def geneval(name: str | None, device: str | None, canary: bool, allow_noncommercial: bool) -> Judge:
    """GenEval's rules over a detector.

    Args:
        name: Of the judge; None for the default one.
        device: Where it runs; None for the GPU if there is one.
        canary: Whether it must first be right on known pictures.
        allow_noncommercial: Whether its licence may forbid commercial use.

    Raises:
        ValueError: It is unknown, not allowed, or wrong on known pictures.
    """
    from gensearch import registry
    from gensearch.evaluate.benchmarks import geneval as benchmark

    name = name or benchmark.JUDGE
    source = benchmark.source_of(name)
    registry.check_licences(f"geneval:{source}", allow_noncommercial)
    return benchmark.folder_judge(name, benchmark.load(source, None, canary, device))


def shapes(name: str | None) -> Judge:
    """The exact judge of the Shapes world.

    Args:
        name: Must be None.

    Raises:
        ValueError: Another judge was named.
    """
    from gensearch.evaluate.benchmarks.shapes import FOLDER_JUDGE

    if name:
        raise ValueError(f"shapes has an exact judge of its own; leave out --judge {name}")
    return FOLDER_JUDGE


def track(work: Iterable[Record], total: int, out: Path, console: Console) -> list[Record]:
    """Do the work under a progress bar; Ctrl-C keeps what is done.

    Args:
        work: Yields records.
        total: Pictures of the folder.
        out: The file of verdicts.
        console: Where the bar is drawn.

    Raises:
        Exit: 130 after Ctrl-C.
    """
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), MofNCompleteColumn(), TimeRemainingColumn())
    done: list[Record] = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("judging", total=total)
        try:
            for record in work:
                done.append(record)
                progress.update(task, advance=1, description=record["filename"])
        except KeyboardInterrupt:
            console.print(f"stopped; the verdicts so far are in {out}, and the same command goes on from here")
            raise typer.Exit(130) from None
    return done


def show(out: Path, rules: Rules, published: str | None, console: Console) -> None:
    """Write and print the summary of a file of verdicts.

    Args:
        out: The file.
        rules: What the pictures were judged by.
        published: The model whose published scores are compared, if any.
        console: Where it is printed.
    """
    from gensearch.evaluate.benchmarks.parity import parity
    from gensearch.evaluate.judging import FIELDS, summarise
    from gensearch.files.atomic import read_records

    records = read_records(out, FIELDS, "verdict on a picture")
    if not records:
        raise ValueError("no picture could be judged; see the messages, and make the pictures again")
    found = summarise(records)
    prompts = len({record["metadata"] for record in records})
    about = {"benchmark": records[0]["benchmark"], "judge": records[0]["judge"], "pictures": len(records)}
    content = {**about, "prompts": prompts, **found._asdict()}
    write_atomic(out.with_suffix(".summary.json"), json.dumps(content, indent=1).encode())
    console.print(f"{about['benchmark']}: {len(records)} pictures of {prompts} prompts", soft_wrap=True)
    for tag, share in found.tags.items():
        right = sum(record["correct"] for record in records if record["tag"] == tag)
        console.print(f"{tag:<16} {share:7.2%} ({right} / {sum(record['tag'] == tag for record in records)})")
    console.print(f"correct pictures {found.images:7.2%}, correct prompts {found.prompts:.2%}")
    console.print(f"overall          {found.overall:.5f} (mean of the tags)")
    console.print(f"written to {out} and {out.with_suffix('.summary.json').name}", soft_wrap=True)
    if rules is Rules.geneval:
        write_atomic(out.with_suffix(".parity.md"), parity(records, published).encode())
        console.print(f"beside published scores, with the deviations: {out.with_suffix('.parity.md')}", soft_wrap=True)
