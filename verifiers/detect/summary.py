"""GenEval's headline numbers from single verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple


class Judged(NamedTuple):
    """The verdict on one picture of one prompt."""

    tag: str
    prompt: str
    correct: bool


class Summary(NamedTuple):
    """All numbers are shares in [0, 1]."""

    tags: dict[str, float]  # tag -> share of correct pictures
    overall: float  # unweighted mean of the tags: the number that papers quote
    images: float  # share of correct pictures
    prompts: float  # share of prompts with at least one correct picture


def summarise(results: Iterable[Judged]) -> Summary:
    """Sum up verdicts on any set of tags, in any order (GenEval, arXiv:2310.11513).

    Raises ValueError if there are none.
    """
    by_tag: dict[str, list[bool]] = defaultdict(list)
    by_prompt: dict[tuple[str, str], bool] = defaultdict(bool)
    for tag, prompt, correct in results:
        by_tag[tag].append(correct)
        by_prompt[tag, prompt] |= correct
    if not by_tag:
        raise ValueError("there are no verdicts to sum up; judge at least one picture first")
    tags = {tag: fmean(flags) for tag, flags in sorted(by_tag.items())}
    images = fmean([flag for flags in by_tag.values() for flag in flags])
    return Summary(tags, fmean(list(tags.values())), images, fmean(list(by_prompt.values())))
