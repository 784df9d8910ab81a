"""Functions of verifiers in their names, such as "cascade(a,b,keep=4)"; text only, nothing is loaded."""

from __future__ import annotations

import math
import re
from typing import NamedTuple


class Form(NamedTuple):
    """How a function of verifiers is written.

    Attributes:
        least: the fewest verifiers in its brackets.
        most: the most.
        settings: names of its settings, which follow the verifiers as NAME=NUMBER.
        elects: whether it elects among the finished candidates of a search, so that it can only select.
    """

    least: int
    most: int
    settings: tuple[str, ...] = ()
    elects: bool = False


MANY = 20
QUOTE = '"'  # around a source that holds marks of the grammar
BOUTS = ("keep", "samples", "tie")
FORMS = {
    "z": Form(1, 1, ("shift", "scale")),
    "min": Form(2, MANY),
    "veto": Form(2, MANY),
    "rank": Form(1, MANY, elects=True),
    "zsum": Form(1, MANY, elects=True),
    "agree": Form(2, MANY, ("doubt",), elects=True),
    "cascade": Form(1, 2, ("keep",), elects=True),
    "knockout": Form(1, 2, BOUTS, elects=True),
    "swiss": Form(1, 2, (*BOUTS, "rounds"), elects=True),
    "roundrobin": Form(1, 2, BOUTS, elects=True),
}


class Call(NamedTuple):
    """A function of verifiers, read from its name.

    Attributes:
        form: a key of `FORMS`.
        inside: names of the verifiers in its brackets.
        settings: setting -> value.
        bounds: (">=" or "<=", threshold) of each verifier after the first, in a veto; none in other forms.
    """

    form: str
    inside: tuple[str, ...]
    settings: dict[str, float]
    bounds: tuple[tuple[str, float], ...] = ()


def read_call(item: str) -> Call | None:
    """Return the function that a term is, or None if it is a single name.

    Args:
        item: a term without its weight.

    Raises:
        ValueError: for a function with too few or too many verifiers, a setting that is no finite number, and a veto
            without a threshold.
    """
    written = re.fullmatch(r"([a-z]+)\((.*)\)", item.strip(), re.DOTALL)
    if not written or written[1] not in FORMS:
        return None
    form = FORMS[written[1]]
    names, settings = list[str](), dict[str, float]()
    for part in map(str.strip, split_outside(written[2], ",")):
        setting, equals, value = part.partition("=")
        if equals and setting in form.settings:
            settings[setting] = factor(value, setting, "setting", f"{setting}=4")
        else:
            names.append(part)
    if not form.least <= len(names) <= form.most:
        counts = f"{form.least} or more" if form.most == MANY else " or ".join(map(str, range(1, form.most + 1)))
        known = f" and the settings {', '.join(form.settings)}" if form.settings else ""
        raise ValueError(f"{item!r} has {len(names)} verifiers; {written[1]} takes {counts}{known}, split by commas")
    if written[1] != "veto":
        return Call(written[1], tuple(names), settings)
    limits = [re.fullmatch(r'((?:"[^"]*"|[^"])+?)(>=|<=)(.+)', part, re.DOTALL) for part in names[1:]]
    if None in limits:
        raise ValueError(f"{item!r} lacks a threshold; write a veto as 'veto(shapes/clip,shapes/partial>=0.5)'")
    bounds = tuple((m[2], factor(m[3], m[1], "threshold", f"{m[1].strip()}>=0.5")) for m in limits if m)
    return Call("veto", (names[0], *(m[1].strip() for m in limits if m)), settings, bounds)


def split_outside(text: str, mark: str) -> list[str]:
    """Split a text at each mark that stands outside of brackets and quotes.

    Args:
        text: any text.
        mark: one character.
    """
    parts, depth, inside = [""], 0, False
    for character in text:
        inside ^= character == QUOTE
        depth = max(0, depth + (not inside) * ((character in "([") - (character in ")]")))
        if character == mark and not depth and not inside:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def quoted(source: str) -> str:
    """Return the source of a name, such as a path, as the grammar reads it: in quotes where marks of its own would be.

    Args:
        source: any text; a quote in it is doubled.
    """
    plain = source == source.strip() and not re.search(r'[+*,()\[\]"<>=]', source)
    return source if plain else QUOTE + source.replace(QUOTE, 2 * QUOTE) + QUOTE


def unquoted(source: str) -> str:
    """Return what a source says, without the quotes that `quoted` puts around it.

    Args:
        source: as it stands in a name.

    Raises:
        ValueError: for a quote that is not closed, or has something after it.
    """
    if QUOTE not in source:
        return source
    if not re.fullmatch(r'"([^"]|"")*"', source, re.DOTALL):
        raise ValueError(
            f"the quotes in {source!r} do not close around all of it; write the whole path in quotes, and each quote "
            'inside it twice, as in critic:"my+path.yaml"'
        )
    return source[1:-1].replace(2 * QUOTE, QUOTE)


def factor(text: str, name: str, role: str = "weight", example: str = "0.5*random") -> float:
    """Return a finite number that a name holds.

    Args:
        text: the number.
        name: what it belongs to, for the error message.
        role: what it is, for the error message.
        example: how to write one, for the error message.

    Raises:
        ValueError: for anything else.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {role}; write one as in {example!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"the {role} of {name!r} is {text}; give a finite one, as in {example!r}")
    return value
