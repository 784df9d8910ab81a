"""Beam search over the chunks of a clip, with noise that is correlated from chunk to chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

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
from gensearch.search.chunks.resume import Recorded, resumed
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
    """Keep a beam of the best clips after every chunk, with noise correlated to that of the chunk before.

    Source: Stream-T1, arXiv:2605.04461.

    A child's noise is s z + sqrt(1 - s^2) e, with the noise z of the chunk before and s the `correlation`; that of the
    plain clip stays its own. An unfinished clip scores a * (its new frames) + (1 - a) * (its last `window` chunks) with
    a = min(progress, `newest`), and a finished one as a whole. Both scores come from one verifier with the prompt of
    the stage, where the paper mixes two on different scales.

    Args:
        beams: clips that stay after each chunk; integer above 0 (default None: as many as the budget allows)
        children: children of each clip; integer above 0 (default 2)
        correlation: of a child's noise with that of the chunk before; number above -1 and below 1 (default -0.1)
        newest: largest weight of the new frames' score; number at least 0 and at most 1 (default 0.4)
        window: chunks that the other score reads, from the last one back; integer above 0 (default 10)
        stages: prompts of the verifier for the first chunk, those between and the whole clip, as templates or by a
            function of the prompt; list of 3 texts or function (default ["{prompt}", "{prompt}", "{prompt}"])
        resume: recorded clip whose first chunks are kept, for SearchPipeline a run; text or list of lists (default "")
        chunk: first chunk of `resume` that is made anew; integer at least 0 (default 0)
        propose: makes the noise of first chunks (default gaussian)

    Raises:
        ValueError: the model makes no chunks, or `resume` does not fit `chunk`.
    """
    clip_model, texts = require_chunks(model, "beam_of_frames"), written(stages, prompt)
    account, beam = open_account(model, verifier, ledger), Beam(beams, children, correlation, newest, window)
    yield from extend(
        clip_model, verifier, prompt, texts, beam, account, rng, propose, resumed(model, prompt, resume, chunk)
    )


class Beam(NamedTuple):
    """The width of a beam, and how its clips go on and are scored."""

    beams: int | None
    children: int
    correlation: float
    newest: float
    window: int


def extend(
    model: ChunkModel,
    verifier: Verifier,
    prompt: str,
    texts: Sequence[str],
    beam: Beam,
    account: Account,
    rng: Rng,
    propose: Proposal,
    clips: Clips | None,
) -> Iterator[Round]:
    """Beam search from the root, or from a clip in progress: one more chunk, score, prune."""
    start, last, made = clips.depth if clips else 0, model.num_steps, 0
    beams = beam.beams or paid_beams(account, start, beam.children, fee(propose))
    twice = account._replace(scoring=account.scoring.plus(Cost(scored=account.scoring.scored)))  # of a preview
    for depth in range(start, last):
        parents = len(clips.paths) if clips else 1
        count = twice.room(beams * beam.children, parents, depth, unscored=1)
        if clips is None:
            clips = first_chunks(model, prompt, rng, count, propose)
        else:
            each, more = divmod(count, parents)
            shares = [each + (row < more) for row in range(parents)]
            clips = next_chunks(model, clips, shares, rng.root, beam.correlation)
        if count == 1 and depth + 1 < last:
            continue
        round = scored(model, verifier, clips, texts, made, beam.newest, beam.window)
        yield round
        clips, made = clips._replace(homes=round.ids), made + count
        totals = round.scores.total.tolist()
        del round  # it holds what is about to be pruned
        clips = clips.at(best_rows(totals, beams))


def paid_beams(account: Account, start: int, children: int, proposal: Cost) -> int:
    """The widest beam that the budget allows, at least one."""
    beams = 1
    while affords(account.ledger, beam_cost(account, start, beams + 1, children, proposal)) and beams < 10_000:
        beams += 1
    return beams


def beam_cost(account: Account, start: int, beams: int, children: int, proposal: Cost = Cost()) -> Cost:
    """What a beam costs: beams * children chunks at every depth, each decoded once and scored twice but at the end."""
    count, last = beams * children, len(account.steps) - 1
    total = Cost() if start else proposal.times(count)
    for depth in range(start, last + 1):
        parents = 1 if depth == start else beams
        made = parents * children if depth == start and start else count
        total = total.plus(account.chunks(made, parents, depth)).plus(account.scoring.times(made))
        if depth < last:
            total = total.plus(Cost(scored=account.scoring.scored * made))
    return total


@torch.no_grad()
def scored(
    model: ChunkModel, verifier: Verifier, clips: Clips, texts: Sequence[str], first: int, newest: float, window: int
) -> Round:
    """A round of clips: finished ones scored as a whole, others by their new frames and their last chunks."""
    media, depth, last = model.render(clips.state), clips.depth, model.num_steps
    prompts, progress = [texts[stage(depth, last)]] * len(media), depth / last
    ids = tuple(range(first, first + len(media)))

    def tail(chunks: int) -> Media:
        return media[:, -sum(model.frames[max(0, depth - chunks) : depth]) :]

    if depth == last:
        together = sizes_of(clips.state, [1] * len(media))
        return Round(media, verifier(media, prompts), clips.recipes, ids, clips.homes, sizes=together)
    weight = min(progress, newest)
    short = verifier(tail(1), prompts, progress=progress)
    long = verifier(tail(window), prompts, progress=progress)
    total = torch.where(
        short.total.isfinite() & long.total.isfinite(),
        weight * short.total + (1 - weight) * long.total,
        -torch.inf,
    )
    return Round(media, long._replace(total=total), clips.recipes, ids, clips.homes, done=False)
