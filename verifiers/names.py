"""The grammar of verifier names: "a+0.5*b", "rank(a,b)" and "kind:source"; text only, nothing is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

KINDS = ("clip", "critic", "frames", "vqa")  # of verifiers that are named by their source


def parse(name: str, known: Collection[str]) -> list[tuple[str, float]]:
    """Split a verifier's name into single names and their weights.

    Args:
        name: a single name, a weighted sum such as "a+0.5*b", or a rank vote such as "rank(a,b)".
        known: all registered names.

    Returns:
        One (name, weight) pair for each single verifier, in the order of the text.

    Raises:
        ValueError: if a single name is neither in `known` nor of the form kind:source, or a weight is not finite.
    """
    return [weigh(term, known) for part in ranked(name) or [name] for term in split_sum(part)]


def leaf_names(name: str) -> set[str]:
    """Return the names of the single verifiers in a verifier's name, known or not.

    Args:
        name: any text in the grammar of this module; "frames:NAME" counts as NAME.
    """
    terms = [split_weight(term)[1] for part in ranked(name) or [name] for term in split_sum(part)]
    return {term.removeprefix("frames:") for term in terms}  # the same verifier, on the frames of a clip


def ranked(name: str) -> list[str]:
    """Return the voters of a rank vote.

    Args:
        name: "rank(a,b)"; any other name has no voters.
    """
    inside = re.fullmatch(r"rank\((.*)\)", name.strip(), re.DOTALL)
    return [voter.strip() for voter in inside[1].split(",")] if inside else []


def split_sum(name: str) -> list[str]:
    """Split a sum into its terms; a + inside the path of an existing folder does not separate terms.

    Args:
        name: terms joined by +.
    """
    pieces, terms = name.split("+"), []
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
    weighed = re.fullmatch(r"([^*:]*)\*(.*)", term, re.DOTALL)
    return (weighed[1], weighed[2].strip()) if weighed else ("", term)


def is_folder(name: str) -> bool:
    """Return whether a name is kind:source with an existing folder as its source.

    Args:
        name: a single verifier name.
    """
    kind, _, source = name.partition(":")
    return kind in KINDS and os.path.isdir(source)


def weigh(term: str, known: Collection[str]) -> tuple[str, float]:
    """Return the name and the weight of one term; the default weight is 1.

    Args:
        term: "name" or "weight*name".
        known: all registered names.

    Raises:
        ValueError: for a weight that is not a finite number, a missing name, and a name that does not exist.
    """
    weight, name = split_weight(term)
    try:
        factor = float(weight) if weight or term.startswith("*") else 1.0
    except ValueError:
        raise ValueError(f"{weight!r} is no weight; write a sum as 'shapes/clip+0.5*random'") from None
    if not math.isfinite(factor):
        raise ValueError(f"the weight of {name!r} is {weight}; give a finite one, as in '0.5*random'")
    if not name:
        raise ValueError(
            f"{term!r} names no verifier; write a sum as 'shapes/clip+0.5*random' and a vote as 'rank(a,b)'"
        )
    if name not in known and name.partition(":")[0] not in KINDS:
        raise ValueError(f"no verifier is called {name!r}{nearest(name, known)}")
    return name, factor


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about a misspelt name: the closest known name, and all of them.

    Args:
        name: what was written.
        known: what exists.
    """
    names = list(known)
    close = get_close_matches(name, names, 1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Known: {', '.join(names) or 'none'}."
