"""`gensearch list`: everything that has a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table


class What(StrEnum):
    """The lists."""

    models = "models"
    verifiers = "verifiers"
    searches = "searches"
    presets = "presets"


def list_names(what: Annotated[What | None, typer.Argument(help="One list only.")] = None) -> None:
    """List the models, verifiers, searches with their knobs, and presets.

    Example: gensearch list searches
    """
    from rich.console import Console

    tables = {What.models: models, What.verifiers: verifiers, What.searches: searches, What.presets: presets}
    console = Console(markup=False, emoji=False)  # names are taken literally
    for name in [what] if what else tables:
        console.print(tables[name]())


def models() -> Table:
    """The models that are known by name."""
    from gensearch.registry import models as known

    return titled("model", "what it is", rows=known().items())


def verifiers() -> Table:
    """The verifiers."""
    from gensearch.registry import VERIFIERS

    return titled("verifier", "what it is", rows=((name, entry.about) for name, entry in VERIFIERS.items()))


def searches() -> Table:
    """The searches, their knobs with defaults, and the first line of what they do."""
    from gensearch.search import SEARCHES
    from gensearch.search.knobs import knobs_of

    rows = []
    for name, search in SEARCHES.items():
        knobs = ", ".join(f"{knob}={p.default}" for knob, p in knobs_of(search).items())
        rows.append((name, knobs, (search.__doc__ or "").partition("\n")[0]))
    return titled("search", "knobs", "what it does", rows=rows)


def presets() -> Table:
    """The presets and the first sentence of each header."""
    from gensearch.config.yaml import presets as names
    from gensearch.packages import configs

    rows = []
    for name in names():
        lines = (configs() / f"{name}.yaml").read_text(encoding="utf-8").partition("# Cost:")[0].splitlines()
        first, _, _ = " ".join(line.lstrip("# ") for line in lines).partition(". ")
        rows.append((name, f"{first.rstrip('.')}."))
    return titled("preset (--config)", "what it is", rows=rows)


def titled(*columns: str, rows: Iterable[Sequence[str]]) -> Table:
    """A table whose names are there to be copied whole."""
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
