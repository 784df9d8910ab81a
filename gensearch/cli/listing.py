"""`gensearch list`: everything that has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensearch.cli.verifiers import show_verifiers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gensearch.core.types import Search

WIDTH = 80  # columns at least, however narrow the terminal, so that no table loses any
NAME = 56  # columns at most that a name takes before it is folded

PRESETS = {  # folder of configs -> the command that its presets are for
    "": "gensearch generate PROMPT --config NAME",
    "evaluate": "gensearch evaluate BENCHMARK --config NAME --out FOLDER",
    "hypernoise": "gensearch train hypernoise --config NAME --out FOLDER",
    "critics": "gensearch generate PROMPT --verifier critic:configs/critics/NAME.yaml",
    "shapes": "python -m gensearch.shapes.train configs/shapes/NAME.yaml --out FOLDER",
}
MODELS = {  # verb -> the models that offer it
    "tokens": "an autoregressive image model",
    "chunks": "a chunk-autoregressive video model",
    "gradient": "a model that passes gradients",
}
PICTURE = 'gensearch generate "a photo of two red stars"'
CLIP = 'gensearch generate "a red star moving fast to the left"'
EXAMPLES = {  # verb -> the beginning of a command
    "tokens": f"{PICTURE} --model shapes/janus",
    "chunks": f"{CLIP} --model shapes/video --verifier shapes/clip-motion",
}
MORE = {"latent_value": " --knob value=value.safetensors"}  # what an example of a search cannot do without


class What(StrEnum):
    """The lists."""

    models = "models"
    verifiers = "verifiers"
    searches = "searches"
    presets = "presets"


def list_names(
    what: Annotated[What | None, typer.Argument(help="One list only.")] = None,
    name: Annotated[str | None, typer.Argument(help="One search or verifier, with everything about it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Of verifiers: print JSON.")] = False,
) -> None:
    """List the models, verifiers, searches with their knobs, and presets.

    Example: gensearch list searches zero_order
    """
    if name is not None and what not in (What.searches, What.verifiers):
        raise ValueError(
            f"only a search or a verifier has a page of its own; write `gensearch list {what}` without {name!r}"
        )
    if as_json and what is not What.verifiers:
        raise ValueError("only verifiers are listed as JSON; write `gensearch list verifiers --json`")
    if what is What.verifiers:
        show_verifiers(name, as_json)
        return
    lists: dict[What, Callable[[Console], None]] = {
        What.models: show_models,
        What.verifiers: lambda console: show_verifiers(),
        What.searches: show_searches,
        What.presets: show_presets,
    }
    console = wide_console()
    if name is not None:
        show_search(console, name)
        return
    for show in [lists[what]] if what else lists.values():
        show(console)


def wide_console() -> Console:
    """A console that prints names literally, and tables of at least 80 columns."""
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(WIDTH, console.width)
    return console


def show_models(console: Console) -> None:
    """The models that are known by name."""
    from gensearch.registry import models as known

    console.print(titled("model", "what it is", rows=known().items()))


def show_searches(console: Console) -> None:
    """The searches, their knobs with defaults, and what they do in one sentence."""
    from gensearch.search import SEARCHES
    from gensearch.search.knobs import describe, shown, summary

    rows = []
    for name, search in SEARCHES.items():
        knobs = ", ".join(f"{knob.name}={shown(knob.default)}" for knob in describe(search))
        rows.append((name, knobs, summary(search)))
    console.print(titled("search", "knobs", "what it does", rows=rows))
    console.print("`gensearch list searches NAME` explains the knobs of one search.", soft_wrap=True)


def show_search(console: Console, name: str) -> None:
    """One search: what it does, where it comes from, its knobs, what it needs, and an example."""
    from gensearch.registry import search as find
    from gensearch.search import NEEDS, Needs
    from gensearch.search.knobs import describe, shown, source, summary

    search, needs = find(name), NEEDS.get(name, Needs())
    console.print(f"{name}: {summary(search)}")
    if where := source(search):
        console.print(f"Source: {where}")
    rows = [(knob.name, shown(knob.default), knob.range, knob.text) for knob in describe(search)]
    if rows:
        console.print(titled("knob", "default", "range", "what it does", rows=rows))
    console.print(f"Length:   {length(search)}")
    verbs = sorted(needs.verbs)
    model = " and ".join(f"{MODELS[verb]} (verb {verb!r})" for verb in verbs) or "any"
    console.print(f"Model:    {model}")
    console.print(f"Verifier: {'a differentiable one' if needs.differentiable else 'any'}")
    if needs.note:
        console.print(f"Note:     {needs.note}")
    console.print(f"Example:  {example(name, search, verbs)}", soft_wrap=True)  # to be copied whole


def length(search: Search) -> str:
    """Which knobs bound a search, in words."""
    from gensearch.search.knobs import bounds

    names = bounds(search)
    if not names:
        return "set by the budget (--compute) alone, unless the search ends by itself"
    return f"set by {' or '.join(names)}, or else by the budget (--compute)"


def example(name: str, search: Search, verbs: Sequence[str]) -> str:
    """A command that runs a search briefly."""
    from gensearch.search.knobs import bounds

    start = next((EXAMPLES[verb] for verb in verbs if verb in EXAMPLES), PICTURE)
    bound = next((f"--knob {knob}=4" for knob in bounds(search)), "--compute 4")
    return f"{start} --search {name} {bound}{MORE.get(name, '')}"


def show_presets(console: Console) -> None:
    """The presets by the command that they are for, and the first sentence of each header."""
    from gensearch.config.yaml import presets
    from gensearch.packages import configs

    for folder, command in PRESETS.items():
        rows = [(name, opening(configs() / folder / f"{name}.yaml")) for name in presets(configs() / folder)]
        console.print(command, soft_wrap=True)
        console.print(titled("preset (NAME)", "what it is", rows=rows))


def opening(path: Path) -> str:
    """The first sentence of a preset's header, which ends before the costs at the latest."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    header = " ".join(line.lstrip("# ") for line in lines)
    return f"{header.partition(' Cost:')[0].partition('. ')[0].rstrip('.')}."


def titled(*columns: str, rows: Iterable[Sequence[str]]) -> Table:
    """A table whose names, in the first column, stand on one line to be copied whole."""
    from rich.table import Table

    lines = [tuple(row) for row in rows]
    table = Table()
    whole = all(len(row[0]) <= NAME for row in lines)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=whole and place == 0)
    for line in lines:
        table.add_row(*line)
    return table
