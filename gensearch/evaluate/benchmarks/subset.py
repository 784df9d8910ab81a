"""Some of the prompts of a benchmark, spread evenly over its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def spread(lines: Sequence[Mapping[str, Any]], per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many lines of each tag, in their order; all of them if there are no more.

    Args:
        lines: with a `tag` each.
        per_tag: 1 or more.
    """
    by_tag: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        by_tag.setdefault(line["tag"], []).append(place)
    kept = set[int]()
    for places in by_tag.values():
        count = min(per_tag, len(places))
        kept |= {places[i * len(places) // count] for i in range(count)}
    return [lines[place] for place in sorted(kept)]
