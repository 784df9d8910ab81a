"""`gensearch list verifiers`: a few lines for each, and everything about one."""

from __future__ import annotations

import json
import shlex
import textwrap
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from verifiers.card import Card

WIDTH = 80  # columns
UNKNOWN = "not stated"


def show_verifiers(name: str | None = None, as_json: bool = False) -> None:
    """Print the verifiers in short, or one with everything that its card says.

    Args:
        name: One of them, or a name of the form kind:source.
        as_json: Print JSON, of all or of one.

    Raises:
        ValueError: There is no verifier of this name.
    """
    from gensearch.registry import VERIFIERS, describe, parse_verifier

    if name is not None:
        parsed = parse_verifier(name)
        if parsed != [(name, 1)]:
            raise ValueError(f"{name!r} is a sum or a vote; list its verifiers one by one")
    names = list(VERIFIERS) if name is None else [name]
    found = {each: describe(each) for each in names}
    about = {each: VERIFIERS[each].about if each in VERIFIERS else "" for each in names}
    if as_json:
        typer.echo(json.dumps([facts(each, about[each], found[each]) for each in names], indent=1))
    elif name is not None:
        typer.echo("\n".join(page(name, about[name], found[name])))
    else:
        typer.echo("\n\n".join("\n".join(block(each, about[each], found[each])) for each in names))
        typer.echo("\n`gensearch list verifiers NAME` shows everything about one, --json about all.")


def block(name: str, about: str, found: Card | None) -> list[str]:
    """A verifier in a few lines: its name, what it is, and the facts of its card.

    Args:
        name: Of the verifier.
        about: What it is.
        found: Its card.
    """
    if found is None:
        return [name, *folded(about)]
    limits = [] if found.commercial else ["NON-COMMERCIAL"]
    gradient = ["differentiable"] if found.differentiable else []
    own = [] if name.endswith(found.checkpoint) else [found.checkpoint]
    weights = [*own, f"licence {found.licence}"] if found.checkpoint != "none" else ["no weights"]
    return [
        name,
        *folded(about),
        *folded("; ".join([found.input, *gradient, f"scores {found.range}"])),
        *folded("; ".join(filter(None, [*limits, *weights, found.size, found.price]))),
    ]


def folded(text: str) -> list[str]:
    """Indented lines of at most 80 columns; long names are not broken.

    Args:
        text: Any.
    """
    indent = "    "
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def page(name: str, about: str, found: Card | None) -> list[str]:
    """Everything about a verifier, one fact a line.

    Args:
        name: Of the verifier.
        about: What it is.
        found: Its card.
    """
    lines = [name, *folded(about)]
    for key, value in facts(name, about, found).items():
        if key not in ("name", "about") and value != "":
            lines.append(f"{key + ':':16}{'yes' if value is True else 'no' if value is False else value}")
    if found and not found.commercial:
        lines.append("Needs --allow-noncommercial, or allow_noncommercial=True in Python.")
    return lines + checked(name)


def checked(name: str) -> list[str]:
    """What a verifier was checked on, one passport a line.

    Args:
        name: Of the verifier.
    """
    from gensearch.runs.passports import sentence, stored

    return [f"Checked on {sentence(passport)}" for passport in stored(name)] or [
        f"Not checked yet: gensearch verifiers check {shlex.quote(name)}"
    ]


def facts(name: str, about: str, found: Card | None) -> dict[str, str | bool]:
    """A verifier's card with its name, plain.

    Args:
        name: Of the verifier.
        about: What it is.
        found: Its card; every fact is "not stated" without one.
    """
    from verifiers.card import Card

    card = found._asdict() if found else dict.fromkeys(Card._fields, UNKNOWN)
    return {"name": name, "about": about, **card}
