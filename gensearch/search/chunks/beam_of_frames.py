"""A beam over the chunks of a clip, whose noise keeps to that of the chunk before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from gensearch.core.errors import NothingScored
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, gaussian
from gensearch.core.price import fee
from gensearch.core.requires import require_chunks
from gensearch.core.sampling import sizes_of
from gensearch.core.types import Model, Proposal, Round
from gensearch.core.verbs import ChunkModel
from gensearch.search.chunks.clips import (
    AS_IT_IS,
    Account,
    Clips,
    Stages,
    affords,
    best_rows,
    first_chunks,
    next_chunks,
    open_account,
    stage,
    written,
)
from gensearch.search.chunks.resume import Recorded, kept_chunks
from gensearch.search.knobs import Count
from verifiers.types import Media, Verifier

Correlation = Annotated[float, Field(gt=-1, lt=1)]
Weight = Annotated[float, Field(ge=0, le=1)]


def beam_of_frames(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    beams: Count = None,
    children: PositiveInt = 2,
    correlation: Correlation = -0.1,
    newest: Weight = 0.4,
    window: PositiveInt = 10,
    stages: Stages = AS_IT_IS,
    resume: Recorded = "",
    chunk: NonNegativeInt = 0,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Keep the best `beams` clips of `beams` * `children` after every chunk (Stream-T1, arXiv:2605.04461).

    A child's noise is s z + sqrt(1 - s^2) e with the noise z of the chunk before and s the `correlation`, but that of
    the plain clip stays its own. A preview scores a * (its new frames) + (1 - a) * (its last `window` chunks) with
    a = min(progress, `newest`); finished clips are judged whole. Both are the same verifier's, asked by the text of
    their stage, and the mix is on its one scale. `beams` None: as many as the ledger pays. Raises ValueError for models
    without chunks.
    """
    clip_model = require_chunks(model, "beam_of_frames")
    texts, last, made = written(stages, prompt), model.num_steps, 0
    clips = kept_chunks(model, prompt, resume, chunk) if resume else None
    start, account = chunk if clips else 0, open_account(model, verifier, ledger)
    beams = beams or paid_beams(account, start, children, fee(propose))
    for depth in range(start, last):
        parents = len(clips.paths) if clips else 1
        twice = account._replace(look=account.look.plus(Cost(scored=account.look.scored)))
        count = twice.room(beams * children, parents, depth, unjudged=1)
        if clips is None:
            clips = first_chunks(model, prompt, rng, count, propose)
        else:
            each, more = divmod(count, parents)
            shares = [each + (row < more) for row in range(parents)]
            clips = next_chunks(model, clips, shares, rng.root, correlation)
        if count == 1 and depth + 1 < last:
            continue
        if round := look(clip_model, verifier, clips, texts, made, newest, window):
            yield round
            clips, made = clips._replace(homes=round.ids), made + count
            totals = round.scores.total.tolist()
            del round  # it holds what is about to be pruned
        else:
            totals = [0.0] * count
        clips = clips.at(best_rows(totals, beams))


def paid_beams(account: Account, start: int, children: int, proposal: Cost) -> int:
    """The widest beam that the ledger pays, at least one."""
    beams = 1
    while affords(account.ledger, beam_cost(account, start, beams + 1, children, proposal)) and beams < 10_000:
        beams += 1
    return beams


def beam_cost(account: Account, start: int, beams: int, children: int, proposal: Cost = Cost()) -> Cost:
    """What a beam takes: beams * children chunks at every depth, each shown once and judged twice but at the end."""
    count, last = beams * children, len(account.steps) - 1
    total = Cost() if start else proposal.times(count)
    for depth in range(start, last + 1):
        parents = 1 if depth == start else beams
        made = parents * children if depth == start and start else count
        total = total.plus(account.chunks(made, parents, depth)).plus(account.look.times(made))
        if depth < last:
            total = total.plus(Cost(scored=account.look.scored * made))
    return total


@torch.no_grad()
def look(
    model: ChunkModel, verifier: Verifier, clips: Clips, texts: tuple[str, ...], first: int, newest: float, window: int
) -> Round | None:
    """A round of clips: finished ones as they are, others by their new frames and their last chunks.

    None if none of the unfinished could be scored.
    """
    media, depth, last = model.render(clips.state), clips.depth, model.num_steps
    prompts, progress = [texts[stage(depth, last)]] * len(media), depth / last
    ids = tuple(range(first, first + len(media)))

    def tail(chunks: int) -> Media:
        return media[:, -sum(model.frames[max(0, depth - chunks) : depth]) :]

    if depth == last:
        together = sizes_of(clips.state, [1] * len(media))
        return Round(media, verifier(media, prompts), clips.recipes, ids, clips.homes, sizes=together)
    weight = min(progress, newest)
    try:
        short = verifier(tail(1), prompts, progress=progress)
        long = verifier(tail(window), prompts, progress=progress)
    except NothingScored:
        return None
    total = torch.where(
        short.total.isfinite() & long.total.isfinite(),
        weight * short.total + (1 - weight) * long.total,
        -torch.inf,
    )
    return Round(media, long._replace(total=total), clips.recipes, ids, clips.homes, done=False)
