"""Temporal backtracking: cut a clip at its first failure, keep what is valid, and make the rest anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from pydantic import NonNegativeInt, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, gaussian, step_noise
from gensearch.core.price import fee
from gensearch.core.requires import require_chunks
from gensearch.core.sampling import sizes_of
from gensearch.core.types import Model, Proposal, Round, cat
from gensearch.core.verbs import ChunkModel
from gensearch.search.chunks.clips import (
    AS_IT_IS,
    Account,
    Clips,
    Stages,
    affords,
    before,
    chunk_seed,
    open_account,
    stage,
    written,
)
from gensearch.search.chunks.resume import Recorded, kept_chunks
from gensearch.search.knobs import Count
from verifiers.types import Media, Verifier


@dataclass
class Chain:
    """One clip that is made anew from its first failure until nothing of it fails."""

    name: int
    cut: int  # the first chunk to be made anew
    prefixes: list[Clips]  # of 1, 2, ... chunks up to the cut, one row each, at rest; of a record only what is kept
    home: int | None = None  # the finished clip before
    failures: Counter[int] = field(default_factory=Counter)


def backtracking(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    attempts: Count = None,
    chains: PositiveInt = 4,
    passing: float = 0.5,
    patience: PositiveInt = 4,
    stages: Stages = AS_IT_IS,
    resume: Recorded = "",
    chunk: NonNegativeInt = 0,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Verify finished clips prefix by prefix, and make each anew from its first failure.

    Source: Temporal Backtracking Search (TBS), arXiv:2606.13861.

    A prefix fails if it scores below `passing`, or not at all. A clip without a failure ends its chain, and the search
    ends with its last chain. The score of the whole clip counts for the result.

    Args:
        attempts: clips in all; integer above 0 (default None: as many as the budget allows)
        chains: clips that are made anew side by side; integer above 0 (default 4)
        passing: lowest score of a prefix that does not fail; number (default 0.5)
        patience: failures at one chunk after which one more chunk is cut; integer above 0 (default 4)
        stages: prompts of the verifier for the first chunk, those between and the whole clip, as templates or by a
            function of the prompt; list of 3 texts or function (default ["{prompt}", "{prompt}", "{prompt}"])
        resume: recorded clip whose first chunks are kept, for SearchPipeline a run; text or list of lists (default "")
        chunk: first chunk of `resume` that is made anew; integer at least 0 (default 0)
        propose: makes the noise of first chunks (default gaussian)

    Raises:
        ValueError: the model makes no chunks, or `resume` does not fit `chunk`.
    """
    clip_model = require_chunks(model, "backtracking")
    texts, account, made, attempt = written(stages, prompt), open_account(model, verifier, ledger), 0, 0
    kept = [kept_chunks(model, prompt, resume, chunk)] * chunk if resume else []
    alive = [Chain(name, len(kept), [*kept]) for name in range(chains)]
    while alive and made < (attempts or inf):
        fits = paid(account, [chain.cut for chain in alive], fee(propose), min(len(alive), (attempts or inf) - made))
        if not fits and made:
            return
        alive = alive[: max(1, fits)]
        grow(clip_model, prompt, alive, attempt, len(kept), rng, propose)
        round = finished(model, verifier, alive, texts, made)
        failed = first_failures(clip_model, verifier, round, alive, passing, texts) if fits else []
        yield round
        if not fits:  # it was the only one, and nothing was left to verify it
            return
        cut_back(alive, round.ids, failed, len(kept), model.num_steps, patience)
        made, attempt = made + len(alive), attempt + 1
        alive = [chain for chain in alive if chain.cut < model.num_steps]


def cut_back(
    chains: Sequence[Chain], homes: Sequence[int], failed: Sequence[int], kept: int, last: int, patience: int
) -> None:
    """Cut clips at their first failures, one chunk earlier after every `patience` of them at one place."""
    for chain, home, place in zip(chains, homes, failed, strict=True):
        chain.home, chain.cut = home, place
        chain.failures[place] += 1
        if place < last and chain.failures[place] % patience == 0:
            chain.cut = max(kept, place - 1)
        del chain.prefixes[max(kept, chain.cut) :]


def paid(account: Account, cuts: Sequence[int], proposal: Cost, most: float) -> int:
    """How many of the chains the budget allows, from the first on: their chunks, and a score for every prefix."""
    total = Cost()
    for count, cut in enumerate(cuts[: int(most)]):
        prefixes = Cost(scored=account.scoring.scored * (len(account.steps) - 1 - cut))
        total = total.plus(account.ending(cut)).plus(prefixes).plus(Cost() if cut else proposal)
        if not affords(account.ledger, total):
            return count
    return min(len(cuts), int(most))


@torch.no_grad()
def grow(
    model: ChunkModel, prompt: str, chains: Sequence[Chain], attempt: int, start: int, rng: Rng, propose: Proposal
) -> None:
    """Make every clip anew from its cut on; the first attempts are plain clips.

    Only the newest prefixes keep what it takes to go on, such as caches: which one is next is known after verification.
    """
    for depth in range(start, model.num_steps):
        growing = [chain for chain in chains if chain.cut <= depth]
        if not growing:
            continue
        paths = [(-start, chain.name, attempt, depth) for chain in growing]
        if depth:
            parents = [chain.prefixes[depth - 1] for chain in growing]
            plain = [not chain.cut or not attempt and (not start or not chain.name) for chain in growing]
            recipes = tuple(
                clips.recipes[0]
                if own
                else (*before(clips.recipes[0], depth), ("chunk", depth, chunk_seed(rng.root, path)))
                for clips, own, path in zip(parents, plain, paths, strict=True)
            )
            noise = step_noise(recipes, depth, model.noise_shape)
            state = model.advance(cat([clips.state for clips in parents]), noise)
            for chain in growing:
                chain.prefixes[depth - 1] = at_rest(model, chain.prefixes[depth - 1])
        else:
            seeds = [chunk_seed(rng.root, path) for path in paths] if attempt else rng.seeds(len(paths))
            noise = propose(model, [prompt] * len(seeds), seeds)
            state, recipes = model.start([prompt] * len(seeds), noise), described(propose, noise, seeds)
        for row, chain in enumerate(growing):
            chain.prefixes[depth:] = [Clips(state[[row]], ((chain.name,),), recipes[row : row + 1], (None,))]


def at_rest(model: ChunkModel, clips: Clips) -> Clips:
    """The same clips without what it takes to go on."""
    return clips._replace(state=model.rest(clips.state))


@torch.no_grad()
def finished(model: Model, verifier: Verifier, chains: Sequence[Chain], texts: Sequence[str], first: int) -> Round:
    """A round of the whole clips, with ids from `first` on."""
    state = cat([chain.prefixes[-1].state for chain in chains])
    media = model.render(state)
    recipes = tuple(chain.prefixes[-1].recipes[0] for chain in chains)
    ids = tuple(range(first, first + len(chains)))
    scores, homes = verifier(media, [texts[2]] * len(media)), tuple(chain.home for chain in chains)
    return Round(media, scores, recipes, ids, homes, sizes=sizes_of(state, [1] * len(media)))


@torch.no_grad()
def first_failures(
    model: ChunkModel, verifier: Verifier, round: Round, chains: Sequence[Chain], passing: float, texts: Sequence[str]
) -> list[int]:
    """The first chunk of each clip that fails; the number of chunks if none does.

    What precedes a cut passed before; a whole clip's score was paid already.
    """
    last, cuts = model.num_steps, [chain.cut for chain in chains]
    failed = [last if total >= passing else last - 1 for total in round.scores.total.tolist()]
    open_ = list(range(len(chains)))
    for depth in range(min(cuts), last - 1):
        rows = [row for row in open_ if cuts[row] <= depth]
        if not rows:
            continue
        prefix: Media = round.media[rows][:, : sum(model.frames[: depth + 1])]
        prompts = [texts[stage(depth + 1, last)]] * len(rows)
        totals = verifier(prefix, prompts, progress=(depth + 1) / last).total.tolist()
        for row, total in zip(rows, totals, strict=True):
            if total < passing:
                failed[row] = depth
                open_.remove(row)
    return failed
