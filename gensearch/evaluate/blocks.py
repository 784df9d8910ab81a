"""The order of an evaluation: trials in blocks, the unit of work, and shards of them for several machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gensearch.evaluate.journal import Trial
from gensearch.evaluate.plan import Plan

Shard = tuple[int, int]  # the first of three is (1, 3)


class Block(NamedTuple):
    """Trials of one method that run in lockstep.

    The plan alone says which: a trial has the same company however many processes there are and wherever a run was
    interrupted, and so the same bits.

    Attributes:
        number: Of the block among all those of the plan.
        trials: One method, as many pairs of prompt and seed as `block` of the plan says, or the rest.
    """

    number: int
    trials: tuple[Trial, ...]


def blocks(plan: Plan, lines: Sequence[Mapping[str, Any]], shard: Shard = (1, 1)) -> list[Block]:
    """The blocks of a plan, all methods of the same pairs one after the other, so that an unfinished run is paired.

    Args:
        plan: Its methods, seeds per prompt and trials per block.
        lines: The prompts, each with its `tag`.
        shard: Which part of the blocks, from 1, of how many; all methods of a pair are in one part.
    """
    seeds = plan.seeds_of([line["tag"] for line in lines])
    pairs = [(prompt, seed) for prompt, count in enumerate(seeds) for seed in range(count)]
    chunks = [pairs[first : first + plan.block] for first in range(0, len(pairs), plan.block)]
    found = [tuple(Trial(method.name, *pair) for pair in chunk) for chunk in chunks for method in plan.methods]
    which, count = shard
    each = len(plan.methods)
    return [Block(i, trials) for i, trials in enumerate(found) if i // each % count == which - 1]


def trials(plan: Plan, lines: Sequence[Mapping[str, Any]], shard: Shard = (1, 1)) -> list[Trial]:
    """All trials of a plan, or of a shard of it, in order.

    Args:
        plan: Its methods, seeds per prompt and trials per block.
        lines: The prompts, each with its `tag`.
        shard: Which part, from 1, of how many.
    """
    return [trial for block in blocks(plan, lines, shard) for trial in block.trials]


def parse_shard(text: str) -> Shard:
    """A shard from a text such as "2/8".

    Args:
        text: Which part, from 1, and of how many.

    Raises:
        ValueError: It says something else.
    """
    which, slash, count = text.partition("/")
    if slash and which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count):
        return int(which), int(count)
    raise ValueError(f"the shard {text!r} is none; write WHICH/HOW MANY as in 2/8, from 1/8 to 8/8")
