"""The grammar of verifier names: "a+0.5*b", "rank(a,b)" and "kind:source"; text only, nothing is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

KINDS = ("clip", "frames", "vqa")  # of verifiers that are named by their source


def parse(name: str, known: Collection[str]) -> list[tuple[str, float]]:
    """The single names and weights that a verifier's name is made of; raises ValueError for one that is not `known`."""
    return [weigh(term, known) for part in ranked(name) or [name] for term in split_sum(part)]


def leaf_names(name: str) -> set[str]:
    """Names of the single judges in a verifier's name, whether they are known or not."""
    terms = [split_weight(term)[1] for part in ranked(name) or [name] for term in split_sum(part)]
    return {term.removeprefix("frames:") for term in terms}  # a judge of frames is the judge


def ranked(name: str) -> list[str]:
    """The judges of a rank vote, from `rank(a,b)`; none if the name is of another kind."""
    inside = re.fullmatch(r"rank\((.*)\)", name.strip(), re.DOTALL)
    return [voter.strip() for voter in inside[1].split(",")] if inside else []


def split_sum(name: str) -> list[str]:
    """The terms of a sum. A + may also belong to the folder of a `clip:` or `vqa:` term: the longest one wins."""
    pieces, terms = name.split("+"), []
    while pieces:
        joined = ["+".join(pieces[:count]).strip() for count in range(len(pieces), 0, -1)]
        place = next((i for i, term in enumerate(joined) if is_folder(split_weight(term)[1])), len(joined) - 1)
        terms.append(joined[place])
        pieces = pieces[len(joined) - place :]
    return terms


def split_weight(term: str) -> tuple[str, str]:
    """Weight and name of a term, the weight empty if there is none; a `clip:` source may hold a * itself."""
    weighed = re.fullmatch(r"([^*:]*)\*(.*)", term, re.DOTALL)
    return (weighed[1], weighed[2].strip()) if weighed else ("", term)


def is_folder(name: str) -> bool:
    """Whether a verifier is the network of a local folder."""
    kind, _, source = name.partition(":")
    return kind in KINDS and os.path.isdir(source)


def weigh(term: str, known: Collection[str]) -> tuple[str, float]:
    """A name and its weight, from `name` or `weight*name`; raises ValueError for anything else."""
    weight, name = split_weight(term)
    try:
        factor = float(weight) if weight or term.startswith("*") else 1.0
    except ValueError:
        raise ValueError(f"{weight!r} is no weight; write a sum as 'shapes/clip+0.5*random'") from None
    if not math.isfinite(factor):
        raise ValueError(f"the weight of {name!r} is {weight}; give a finite one, as in '0.5*random'")
    if not name:
        raise ValueError(f"{term!r} names no judge; write a sum as 'shapes/clip+0.5*random' and a vote as 'rank(a,b)'")
    if name not in known and name.partition(":")[0] not in KINDS:
        raise ValueError(f"no verifier is called {name!r}{nearest(name, known)}")
    return name, factor


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error about a misspelt name: the closest known one, and all of them."""
    names = list(known)
    close = get_close_matches(name, names, 1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Known: {', '.join(names) or 'none'}."
