"""Prompts in GenEval's grammar as metadata lines (Ghosh et al. 2023, arXiv:2310.11513)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from verifiers.detect.classes import GENEVAL_CLASSES
from verifiers.vlm.decompose import NUMBERS, RELATIONS, phrase

IRREGULAR = {"people": "person", "knives": "knife", "sheep": "sheep", "mice": "mouse"}
LONGEST = 3  # words of a class name
COUNTS = {word: count for count, word in enumerate(NUMBERS, 2)}


def line(prompt: str) -> dict[str, Any]:
    """Return the metadata line of a prompt, as GenEval's own file of 553 lines has it.

    Args:
        prompt: such as "a photo of two clocks", "a photo of a blue umbrella", "a photo of a kite and a red bus" or "a
            photo of a wine glass above a kite". Classes need not be among GenEval's.

    Raises:
        ValueError: for a prompt of another form.
    """
    text = re.sub(r"^(a|an) (photo|picture|image) of ", "", " ".join(prompt.lower().split()).rstrip("."))
    related = re.fullmatch(rf"(.+?) (?:(?:on|to) the )?({'|'.join(RELATIONS)}) (.+)", text)
    parts = [related[3], related[1]] if related else text.split(" and ")  # the target of a relation comes first
    found = [phrase(part) for part in parts]
    phrases = [p for p in found if p]
    numbered = any(p.number for p in phrases)
    sentence = any(len(p.noun.split()) > LONGEST for p in phrases)  # "dog runs after a cat" is no noun
    if len(phrases) < len(parts) or len(phrases) > 2 or sentence or (related and numbered):
        raise ValueError(
            f"no rule turns the prompt {prompt!r} into clauses; write one as 'a photo of two cups', 'a photo of a red "
            "cup and a blue bus' or 'a photo of a cup left of a dog'"
        )
    include: list[dict[str, Any]] = []
    for p in phrases:
        clause: dict[str, Any] = {"class": singular(p.noun) if p.number else p.noun, "count": COUNTS.get(p.number, 1)}
        include.append(clause | ({"color": p.color} if p.color else {}))
    if related:
        include[1]["position"] = [related[2], 0]
    exclude = [{"class": c["class"], "count": c["count"] + 1} for c in include if c["count"] > 1]
    tag = "position" if related else "counting" if numbered else tag_of(include)
    return {"tag": tag, "include": include} | ({"exclude": exclude} if exclude else {}) | {"prompt": prompt}


def tag_of(include: list[dict[str, Any]]) -> str:
    """Return the tag of a line without numbers and relations.

    Args:
        include: its clauses, one or two.
    """
    colored = any("color" in clause for clause in include)
    if len(include) == 1:
        return "colors" if colored else "single_object"
    return "color_attr" if colored else "two_object"


def singular(noun: str, classes: Collection[str] = GENEVAL_CLASSES) -> str:
    """Return the singular of a noun: one of `classes` if it is one's plural, otherwise by the rules of spelling.

    GenEval's prompts add -es after an s and -s elsewhere ("toothbrushs"); usual spellings are understood as well.

    Args:
        noun: lower case, plural.
        classes: known names.
    """
    first, space, last = noun.rpartition(" ")
    if last in IRREGULAR:
        return first + space + IRREGULAR[last]
    for known in (noun, noun.removesuffix("s"), noun.removesuffix("es")):
        if known in classes:
            return known
    if re.search(r"(s|x|z|ch|sh)es$", noun):
        return noun.removesuffix("es")
    return re.sub("ies$", "y", noun) if noun.endswith("ies") else noun.removesuffix("s")
