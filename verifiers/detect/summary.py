"""GenEval's summary numbers from single verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple


class Outcome(NamedTuple):
    """The verdict on one picture of one prompt.

    Attributes:
        tag: the kind of prompt, such as "counting".
        prompt: identifies the prompt within its tag.
        correct: whether the picture shows it.
    """

    tag: str
    prompt: str
    correct: bool


class Summary(NamedTuple):
    """GenEval's numbers, all in [0, 1].

    Attributes:
        tags: tag -> share of correct pictures.
        overall: the unweighted mean of the tags, which papers report.
        images: share of correct pictures.
        prompts: share of prompts with at least one correct picture.
    """

    tags: dict[str, float]
    overall: float
    images: float
    prompts: float


def summarise(results: Iterable[Outcome]) -> Summary:
    """Summarise verdicts (GenEval, Ghosh et al. 2023, arXiv:2310.11513).

    Args:
        results: verdicts on any set of tags, in any order.

    Raises:
        ValueError: if there are none.
    """
    by_tag: dict[str, list[bool]] = defaultdict(list)
    by_prompt: dict[tuple[str, str], bool] = defaultdict(bool)
    for tag, prompt, correct in results:
        by_tag[tag].append(correct)
        by_prompt[tag, prompt] |= correct
    if not by_tag:
        raise ValueError("there are no verdicts to summarise; score at least one picture first")
    tags = {tag: fmean(flags) for tag, flags in sorted(by_tag.items())}
    images = fmean([flag for flags in by_tag.values() for flag in flags])
    return Summary(tags, fmean(list(tags.values())), images, fmean(list(by_prompt.values())))
