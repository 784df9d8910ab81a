"""Tree-of-Frames: branch between the chunks of a clip, and prune by what each stage of it should show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import exp, log
from statistics import fmean, pstdev
from typing import Annotated

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, gaussian
from gensearch.core.price import fee
from gensearch.core.requires import require_chunks
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.chunks.clips import (
    AS_IT_IS,
    Account,
    Path,
    Schedule,
    Stages,
    affords,
    at_depth,
    best_rows,
    first_chunks,
    judged,
    next_chunks,
    open_account,
    written,
)
from gensearch.search.chunks.resume import Recorded, kept_chunks
from gensearch.search.knobs import Bound
from verifiers.types import Verifier

MOST = 10_000  # children of one clip


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
    """Give each clip `branch` children with one more chunk, keep the `keep` best per tree (Video-T1, arXiv:2503.18942).

    Schedules are one number or a list by depth, whose last entry goes on; `branch` None plans what the ledger pays for,
    the earliest chunks first. A child is the best of `inner` tries. `spread` above 0 branches more after scores that
    differ much: in proportion to (their deviation / its mean so far)^spread. `stages` are what the verifier is asked of
    the first chunk, the middle and the end: templates with {prompt}, or a callable that writes them. Clips are judged
    only where there is something to choose; of equals those with the lowest paths stay, and so do they where nothing
    could be scored. `trees` are pruned apart: with `branch` 1 they are best-of-N. `resume` keeps what precedes `chunk`
    of a recorded clip. Chunks made: sum over depths of survivors * branch * inner. Raises ValueError for models without
    chunks.
    """
    require_chunks(model, "tree_of_frames")
    texts, last, made, roots = written(stages, prompt), model.num_steps, 0, 1
    if resume and trees > 1:
        raise ValueError(f"a recorded clip is the root of one tree and trees is {trees}; leave out trees")
    clips = kept_chunks(model, prompt, resume, chunk) if resume else None
    start, account = chunk if clips else 0, open_account(model, verifier, ledger)
    plan = planned(account, start, trees, keep, inner, fee(propose)) if branch is None else branch
    totals: list[float] = []
    spreads: list[float] = []
    for depth in range(start, last):
        tries, stay = at_depth(inner, depth), at_depth(keep, depth)
        parents = len(clips.paths) if clips else trees
        wanted = parents * tries * bolder(at_depth(plan, depth), spreads, spread)
        count = account.room(wanted, parents, depth, unjudged=0 if tries > 1 else stay * trees)
        if clips is None:
            clips, roots = first_chunks(model, prompt, rng, count, propose), -(-count // trees)
        else:
            clips = next_chunks(model, clips, shares(count, parents, totals), rng.root)
        totals = [0.0] * count
        if depth + 1 < last and (count == 1 or (tries == 1 and count <= stay * trees)):
            continue
        if seen := judged(model, verifier, clips, texts, made):
            round, clips, totals = seen
            yield round
            del seen, round  # they hold what is about to be pruned
            made += count
            spreads.append(pstdev([total for total in totals if total > float("-inf")]))
        rows = survivors(clips.paths, totals, tries, stay, roots)
        clips, totals = clips.at(rows), [totals[row] for row in rows]


def planned(
    account: Account, start: int, trees: int, keep: Schedule, inner: Schedule, proposal: Cost = Cost()
) -> list[int]:
    """Children by depth that the ledger pays for: as many everywhere, and one more at the earliest depths."""
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
    """What a search of these schedules takes: sum over depths of survivors * branch * inner chunks, and its looks."""
    total, parents, last = Cost(), trees, len(account.steps) - 1
    for depth in range(start, last + 1):
        tries, stay = at_depth(inner, depth), at_depth(keep, depth) * trees
        count = parents * at_depth(branch, depth) * tries
        total = total.plus(account.chunks(count, parents, depth))
        if depth == 0:
            total = total.plus(proposal.times(count))
        if tries > 1 or count > stay or depth == last:
            total = total.plus(account.look.times(count))
        parents = min(count // tries, stay)
    return total


def bolder(children: int, spreads: Sequence[float], power: float) -> int:
    """More children after scores that differed more than usual, fewer after scores that said little, at least one."""
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
