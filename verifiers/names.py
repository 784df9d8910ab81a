"""The grammar of verifier names: "a+0.5*b", "cascade(a,b,keep=4)" and "kind:source"; text only, nothing is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import NamedTuple

KINDS = (  # of verifiers that are named by their source
    "aesthetic",
    "background_consistency",
    "clip",
    "clipiqa",
    "detection",
    "frames",
    "geneval",
    "grid",
    "hps",
    "hpsv3",
    "imagereward",
    "pickscore",
    "questions",
    "rationalrewards",
    "siglip",
    "staged",
    "subject_consistency",
    "unifiedreward",
    "videoreward",
    "videoscore",
    "vjepa",
    "vqa",
    "vqascore",
)
ON_FRAMES = ("frames", "grid", "staged")  # kinds whose source is the name of a picture verifier


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


def parse(name: str, known: Collection[str], *, inside: bool = False) -> list[tuple[str, float]]:
    """Split a verifier's name into single names and their weights.

    Args:
        name: a single name, a weighted sum such as "a+0.5*b", or a function such as "min(a,b)" or "rank(a,b)".
        known: all registered names.
        inside: whether the name stands in the brackets of a function.

    Returns:
        One (name, weight) pair for each single verifier, in the order of the text.

    Raises:
        ValueError: if a single name is neither in `known` nor of the form kind:source, a weight or a setting is not
            finite, a function has too few or too many verifiers, or one that elects stands inside another name.
    """
    found = []
    for term in split_sum(name):
        item, _ = weighed(term)
        call = read_call(item)
        if call is None:
            found.append(weigh(term, known))
            continue
        if FORMS[call.form].elects and (inside or item != name.strip()):
            raise ValueError(
                f"{item!r} elects among finished candidates, so it cannot be part of {name!r}; select by it alone"
            )
        found += [pair for inner in call.inside for pair in parse(inner, known, inside=True)]
    return found


def elects(name: str) -> bool:
    """Return whether a name is a function that elects among the finished candidates of a search.

    Args:
        name: any text.
    """
    found = re.match(r"\s*([a-z]+)\(", name)
    return bool(found and found[1] in FORMS and FORMS[found[1]].elects)


def leaf_names(name: str) -> set[str]:
    """Return the names of the single verifiers in a verifier's name, known or not.

    Args:
        name: any text in the grammar of this module; "frames:NAME", "grid:NAME" and "staged:NAME" count as NAME.
    """
    items = [split_weight(term)[1] for term in split_sum(name)]
    calls = {item: read_call(item) for item in items}
    single = {picture_verifier(item) for item, call in calls.items() if call is None}  # the same, on frames of a clip
    return single.union(*(leaf_names(inner) for call in calls.values() if call for inner in call.inside))


def picture_verifier(name: str) -> str:
    """Return the name of the verifier that scores the frames of a clip; any other name as it is.

    Args:
        name: such as "frames:NAME", "grid:NAME@16" or "staged:NAME".
    """
    kind, colon, source = name.partition(":")
    if not colon or kind not in ON_FRAMES:
        return name
    return picture_verifier(split_length(source)[0] if kind == "grid" else source)


def split_length(source: str) -> tuple[str, int | None]:
    """Split the source of a grid into the name of a picture verifier and the frames of a whole clip, None without.

    Args:
        source: "NAME" or "NAME@FRAMES"; NAME may contain an @ itself.
    """
    name, at, frames = source.rpartition("@")
    return (name, int(frames)) if at and frames.isdecimal() else (source, None)


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
    limits = [re.fullmatch(r"(.+?)(>=|<=)(.+)", part, re.DOTALL) for part in names[1:]]
    if None in limits:
        raise ValueError(f"{item!r} lacks a threshold; write a veto as 'veto(shapes/clip,shapes/partial>=0.5)'")
    bounds = tuple((m[2], factor(m[3], m[1], "threshold", f"{m[1].strip()}>=0.5")) for m in limits if m)
    return Call("veto", (names[0], *(m[1].strip() for m in limits if m)), settings, bounds)


def split_outside(text: str, mark: str) -> list[str]:
    """Split a text at each mark that stands outside of brackets.

    Args:
        text: any text.
        mark: one character.
    """
    parts, depth = [""], 0
    for character in text:
        depth = max(0, depth + (character in "([") - (character in ")]"))
        if character == mark and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


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


def split_sum(name: str) -> list[str]:
    """Split a sum into its terms; a + in brackets or inside the path of an existing folder does not separate terms.

    Args:
        name: terms joined by +.
    """
    pieces, terms = split_outside(name, "+"), []
    while pieces:
        joined = ["+".join(pieces[:count]).strip() for count in range(len(pieces), 0, -1)]
        place = next((i for i, term in enumerate(joined) if is_folder(split_weight(term)[1])), len(joined) - 1)
        terms.append(joined[place])
        pieces = pieces[len(joined) - place :]
    return terms


def split_weight(term: str) -> tuple[str, str]:
    """Split a term into the text of its weight, empty if there is none, and its name.

    Args:
        term: "name" or "weight*name"; the source of a kind:source name may contain a * itself.
    """
    weighed = re.fullmatch(r"([^*:(]*)\*(.*)", term, re.DOTALL)
    return (weighed[1], weighed[2].strip()) if weighed else ("", term)


def is_folder(name: str) -> bool:
    """Return whether a name is kind:source with an existing folder as its source.

    Args:
        name: a single verifier name.
    """
    kind, _, source = picture_verifier(name).partition(":")
    return kind in KINDS and os.path.isdir(source)


def weighed(term: str) -> tuple[str, float]:
    """Return the name and the weight of one term, which is 1 by default.

    Args:
        term: "name" or "weight*name"; the name may be a function.

    Raises:
        ValueError: for a weight that is not a finite number.
    """
    weight, name = split_weight(term)
    return name, factor(weight if weight or term.startswith("*") else "1", name)


def weigh(term: str, known: Collection[str]) -> tuple[str, float]:
    """Return the name and the weight of one term with a single verifier.

    Args:
        term: "name" or "weight*name".
        known: all registered names.

    Raises:
        ValueError: for a weight that is not a finite number, a missing name, and a name that does not exist.
    """
    name, weight = weighed(term)
    if not name:
        raise ValueError(
            f"{term!r} names no verifier; write a sum as 'shapes/clip+0.5*random' and a vote as 'rank(a,b)'"
        )
    kind, _, source = name.partition(":")
    if name not in known and not (source and kind in KINDS):
        raise ValueError(f"no verifier is called {name!r}{nearest(name, known)}")
    return name, weight


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about a misspelt name: the closest known name, and all of them.

    Args:
        name: what was written.
        known: what exists.
    """
    names = list(known)
    close = get_close_matches(name, names, 1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Known: {', '.join(names) or 'none'}."
