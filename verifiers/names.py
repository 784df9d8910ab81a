"""The grammar of verifier names: "a+0.5*b", "min(a,b)", "kind:source" and "module:object"; nothing is loaded.

A source with marks of this grammar in it, such as a path with a +, stands in quotes: 'critic:"a+b.yaml"+0.5*random'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from verifiers.calls import FORMS, factor, read_call, split_outside, unquoted

KINDS = (  # of verifiers that are named by their source
    "aesthetic",
    "background_consistency",
    "clip",
    "clipiqa",
    "critic",
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
ENDING = re.compile(r"\.(ya?ml|json|safetensors)$")  # of a path, which the grammar may have torn apart
OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")  # module:object


def parse(name: str, known: Collection[str], *, inside: bool = False) -> list[tuple[str, float]]:
    """Split a verifier's name into single names and their weights.

    Args:
        name: a single name, a weighted sum such as "a+0.5*b", or a function such as "min(a,b)" or "rank(a,b)".
        known: all registered names.
        inside: whether the name stands in the brackets of a function.

    Returns:
        One (name, weight) pair for each single verifier, in the order of the text.

    Raises:
        ValueError: if a single name is neither in `known` nor of the form kind:source or module:object, a weight or a
            setting is not finite, a function has too few or too many verifiers, or one that elects stands inside
            another name.
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


def split_sum(name: str) -> list[str]:
    """Split a sum into its terms; a + in brackets, in quotes or in an existing path does not separate terms.

    Args:
        name: terms joined by +.
    """
    pieces, terms = split_outside(name, "+"), []
    while pieces:
        joined = ["+".join(pieces[:count]).strip() for count in range(len(pieces), 0, -1)]
        place = next((i for i, term in enumerate(joined) if with_path(*split_weight(term))), len(joined) - 1)
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


def with_path(weight: str, name: str) -> bool:
    """Return whether a text that may hold a + is one term: kind:source with an existing file or folder as its source.

    Args:
        weight: the text before its *, empty if there is none.
        name: the rest.
    """
    kind, _, source = picture_verifier(name).partition(":")
    return "+" not in weight and kind in KINDS and os.path.exists(source)


def source_of(name: str) -> tuple[str, str]:
    """Return the kind of a name and its source without quotes; the kind is empty for a name of another form.

    Args:
        name: a single verifier name. The source of "frames:NAME" and its like is a name itself, and is kept as it is.

    Raises:
        ValueError: for quotes that do not close around the whole source.
    """
    kind, _, source = name.partition(":")
    if kind not in KINDS:
        return "", name
    return kind, source if kind in ON_FRAMES else unquoted(source)


def weighed(term: str) -> tuple[str, float]:
    """Return the name and the weight of one term, which is 1 by default.

    Args:
        term: "name" or "weight*name"; the name may be a function.

    Raises:
        ValueError: for a weight that is not a finite number.
    """
    weight, name = split_weight(term)
    return name, factor(weight if weight or term.startswith("*") else "1", name)


def is_object(name: str) -> bool:
    """Return whether a name says where code is, as module:object.

    Args:
        name: a single name; one of `KINDS` before the colon is no module.
    """
    return name.partition(":")[0] not in KINDS and bool(OBJECT.fullmatch(name))


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
    kind, source = source_of(name)
    if name not in known and not (source and kind) and not is_object(name):
        torn = ENDING.search(name)
        how = '; a path with one of + * , ( ) in it is written in quotes, as in critic:"a+b.yaml"' if torn else ""
        raise ValueError(f"no verifier is called {name!r}{how}{nearest(name, known)}")
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
