"""Tree-of-Frames: branch between the chunks of a clip, and prune by a prompt for each stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import exp, log
from statistics import fmean, pstdev
from typing import Annotated, NamedTuple

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, gaussian
from gensearch.core.price import fee
from gensearch.core.requires import require_chunks
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.chunks.clips import (
    AS_IT_IS,
    Account,
    Clips,
    Path,
    Schedule,
    Stages,
    affords,
    at_depth,
    best_rows,
    first_chunks,
    next_chunks,
    open_account,
    scored,
    written,
)
from gensearch.search.chunks.resume import Recorded, resumed
from gensearch.search.knobs import Bound
from verifiers.types import Verifier

MOST = 10_000  # largest number of children of one clip


def tree_of_frames(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    branch: Annotated[Schedule | None, Bound()] = None,
    keep: Schedule = 1,
    inner: Schedule = 1,
    spread: NonNegativeFloat = 0.0,
    trees: PositiveInt = 1,
    stages: Stages = AS_IT_IS,
    resume: Recorded = "",
    chunk: NonNegativeInt = 0,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Branch every clip after each chunk, and keep the children with the best scores.

    Source: Tree-of-Frames of Video-T1, Liu et al. 2025, arXiv:2503.18942.

    Clips are scored only if there is something to choose. Of equal scores, and if nothing could be scored, the lowest
    paths stay. A list is a schedule by chunk, whose last entry holds for all later ones; without `branch` the earliest
    chunks get the most children. Chunks made: sum over depths of survivors * branch * inner.

    Args:
        branch: children of each clip; integer above 0 or list of integers above 0 (default None: as many as the budget
            allows)
        keep: clips of each tree that stay; integer above 0 or list of integers above 0 (default 1)
        inner: tries for each child, of which the best stays; integer above 0 or list of integers above 0 (default 1)
        spread: power by which scores that differ more add children; number at least 0 (default 0.0)
        trees: first chunks whose clips are pruned apart, best-of-N if `branch` is 1; integer above 0 (default 1)
        stages: prompts of the verifier for the first chunk, those between and the whole clip, as templates or by a
            function of the prompt; list of 3 texts or function (default ["{prompt}", "{prompt}", "{prompt}"])
        resume: recorded clip whose first chunks are kept, for SearchPipeline a run; text or list of lists (default "")
        chunk: first chunk of `resume` that is made anew; integer at least 0 (default 0)
        propose: makes the noise of first chunks (default gaussian)

    Raises:
        ValueError: the model makes no chunks, or `resume` does not fit `chunk` or `trees`.
    """
    require_chunks(model, "tree_of_frames")
    texts, shape = written(stages, prompt), Shape(branch, keep, inner, spread, trees)
    if resume and trees > 1:
        raise ValueError(f"a recorded clip is the root of one tree and trees is {trees}; leave out trees")
    account = open_account(model, verifier, ledger)
    yield from grow(model, verifier, prompt, texts, shape, account, rng, propose, resumed(model, prompt, resume, chunk))


class Shape(NamedTuple):
    """The schedules of some trees, and how many there are."""

    branch: Schedule | None
    keep: Schedule
    inner: Schedule
    spread: float
    trees: int


def grow(
    model: Model,
    verifier: Verifier,
    prompt: str,
    texts: Sequence[str],
    shape: Shape,
    account: Account,
    rng: Rng,
    propose: Proposal,
    clips: Clips | None,
) -> Iterator[Round]:
    """Tree-of-Frames from the root, or from a clip in progress: branch after each chunk, score, prune."""
    _, keep, inner, spread, trees = shape
    start, last, made, roots = clips.depth if clips else 0, model.num_steps, 0, 1
    plan = planned(account, start, trees, keep, inner, fee(propose)) if shape.branch is None else shape.branch
    totals: list[float] = []
    spreads: list[float] = []
    for depth in range(start, last):
        tries, stay = at_depth(inner, depth), at_depth(keep, depth)
        parents = len(clips.paths) if clips else trees
        wanted = parents * tries * bolder(at_depth(plan, depth), spreads, spread)
        count = account.room(wanted, parents, depth, unscored=0 if tries > 1 else stay * trees)
        if clips is None:
            clips, roots = first_chunks(model, prompt, rng, count, propose), -(-count // trees)
        else:
            clips = next_chunks(model, clips, shares(count, parents, totals), rng.root)
        totals = [0.0] * count
        if depth + 1 < last and (count == 1 or (tries == 1 and count <= stay * trees)):
            continue
        round, clips, totals = scored(model, verifier, clips, texts, made)
        yield round
        del round  # it holds what is about to be pruned
        made += count
        if known := [total for total in totals if total > float("-inf")]:
            spreads.append(pstdev(known))
        rows = survivors(clips.paths, totals, tries, stay, roots)
        clips, totals = clips.at(rows), [totals[row] for row in rows]


def planned(
    account: Account, start: int, trees: int, keep: Schedule, inner: Schedule, proposal: Cost = Cost()
) -> list[int]:
    """Children by depth that the budget allows: as many at every depth, and one more at the earliest ones."""
    plan, before = [1] * len(account.steps), None
    while plan != before and max(plan) < MOST:
        before = plan
        for depth in range(start, len(plan)):
            more = [*plan[:depth], plan[depth] + 1, *plan[depth + 1 :]]
            if affords(account.ledger, tree_cost(account, start, trees, more, keep, inner, proposal)):
                plan = more
    return plan


def tree_cost(
    account: Account,
    start: int,
    trees: int,
    branch: Schedule,
    keep: Schedule,
    inner: Schedule = 1,
    proposal: Cost = Cost(),
) -> Cost:
    """What trees of these schedules cost: sum over depths of survivors * branch * inner chunks, and the scores."""
    total, parents, last = Cost(), trees, len(account.steps) - 1
    for depth in range(start, last + 1):
        tries, stay = at_depth(inner, depth), at_depth(keep, depth) * trees
        count = parents * at_depth(branch, depth) * tries
        total = total.plus(account.chunks(count, parents, depth))
        if depth == 0:
            total = total.plus(proposal.times(count))
        if tries > 1 or count > stay or depth == last:
            total = total.plus(account.scoring.times(count))
        parents = min(count // tries, stay)
    return total


def bolder(children: int, spreads: Sequence[float], power: float) -> int:
    """More children after scores that differed more than usual, fewer after scores that differed less, at least one.

    In proportion to (last spread / mean spread so far)^power; the spread is the standard deviation of a round's scores.
    """
    usual = fmean(spreads) if spreads else 0.0
    if not power or not usual:
        return children
    if not spreads[-1]:
        return 1
    return max(1, round(children * exp(min(power * log(spreads[-1] / usual), log(MOST)))))


def shares(count: int, parents: int, totals: Sequence[float]) -> list[int]:
    """How `count` children are divided among clips: equally, the remainder to those that scored best."""
    each, more = divmod(count, parents)
    favoured = best_rows(totals or [0.0] * parents, more)
    return [each + (row in favoured) for row in range(parents)]


def survivors(paths: Sequence[Path], totals: Sequence[float], tries: int, keep: int, roots: int) -> list[int]:
    """The rows that stay: of every `tries` tries the best, and of these the best `keep` of each tree."""
    children, trees = defaultdict(list), defaultdict(list)
    for row, path in enumerate(paths):
        children[path[:-1], path[-1] // tries].append(row)
    for rows in children.values():
        (best,) = best_rows([totals[row] for row in rows], 1)
        trees[paths[rows[0]][0] // roots].append(rows[best])
    return sorted(rows[i] for rows in trees.values() for i in best_rows([totals[row] for row in rows], keep))
