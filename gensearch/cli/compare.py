"""`gensearch compare`: one report over the folders of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gensearch.files.atomic import require_writable


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `gensearch evaluate --out` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the report (default: that of the only run).")] = None,
    baseline: Annotated[str | None, typer.Option(help="What differences are to (default: the first run's).")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="A way to select among stored candidates, such as 'cascade(guide,NAME,keep=2)'; may be repeated."
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of bootstrap intervals and sign flips.")] = 10_000,
) -> None:
    """Compare the methods of evaluations: score against cost, paired differences, controls, pictures.

    Example: gensearch compare runs/first runs/second --out runs/report

    Writes compare.html (one file, no network), compare.csv, compare.md and compare.tex. P-values are corrected for the
    number of comparisons. With stored candidates it also replays other ways to select, for every number of samples.
    """
    from rich.console import Console
    from rich.table import Table

    from gensearch.evaluate.report.tables import caption, main_table
    from gensearch.evaluate.report.write import write_report

    folders = [run.expanduser() for run in runs]
    if out is None and len(folders) > 1:
        raise ValueError(f"{len(folders)} runs have no folder in common; say where the report goes with --out FOLDER")
    target = (out or folders[0]).expanduser()
    if out is None and not target.is_dir():
        raise ValueError(f"there is no folder {target}; give one that `gensearch evaluate --out` wrote")
    require_writable(target)
    found, remarks = write_report(folders, target, baseline=baseline or "", policies=policy or (), resamples=resamples)
    header, rows = main_table(found)
    shown = [*range(1, 5), header.index("NFE")]  # what fits into a terminal; the files have all columns
    table = Table(show_edge=False)
    for column in shown:
        table.add_column(header[column], no_wrap=column == 3, overflow="fold")
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    console = Console(markup=False, emoji=False)  # names are taken literally
    console.print(table)
    console.print(caption(found))
    for said in remarks:
        console.print(f"note: {said}", soft_wrap=True)
    console.print(f"written to {target}: compare.html, compare.csv, compare.md, compare.tex", soft_wrap=True)
