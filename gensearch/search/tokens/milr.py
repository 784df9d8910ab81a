"""MILR: policy gradient on the latents of text and image of a unified token model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Literal, cast

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, described, gaussian, randn
from gensearch.core.price import fee, price
from gensearch.core.requires import require_tokens
from gensearch.core.types import Model, Proposal, Round
from gensearch.core.verbs import Side, TokenModel
from gensearch.search.knobs import Updates
from gensearch.search.tokens.chains import Chains, How
from gensearch.search.tokens.journal import open_journal
from gensearch.search.tokens.latents import Baseline, Credit
from verifiers.types import Verifier

Strategy = Literal["joint", "alt", "t2v", "text", "image"]
Share = Annotated[float, Field(ge=0, le=1)]


def milr(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: Updates = None,
    chains: PositiveInt = 1,
    samples: PositiveInt = 1,
    strategy: Strategy = "joint",
    text_share: Share = 0.2,
    image_share: Share = 0.02,
    lr: NonNegativeFloat = 0.03,
    credit: Credit = "sampled",
    baseline: Baseline = "ema",
    shift: float = 0.0,
    noise: Literal["fresh", "common"] = "fresh",
    anchor: NonNegativeFloat = 0.0,
    radius: PositiveFloat | None = None,
    freeze_unconditional: bool = False,
    diversity: NonNegativeFloat = 0.0,
    until: float | None = None,
    keep: Literal["best", "last"] = "best",
    journal: str = "",
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Move the states behind the first tokens towards higher reward, and draw the rest anew (arXiv:2509.22761, Alg. 1).

    One plain picture for each of `chains`, then `iterations` (None: as many as the ledger pays) updates by Adam, each
    followed by `samples` pictures: the latents choose the first tokens, `text_share` of the plan and `image_share` of
    the picture, and the model goes on from there with `fresh` noise or with the chain's own. `strategy` joint moves
    both sides; alt text, then image, in turn; t2v text for the first half and image then; text or image one alone.
    Rewards are score + `shift` + `diversity` * distance to the pictures of other chains, less a `baseline`. `anchor` is
    the price of a nat away from the start, `radius` bounds each state's way. Stops once a score exceeds `until`. With
    `keep` last all but the last pictures are previews, as published. A folder `journal` keeps pictures, and a search
    that was stopped goes on with them. Raises ValueError for models without tokens, or of words alone unless `strategy`
    is text, and for `samples` that do not fit `baseline` or `noise`.
    """
    require_tokens(model, "milr", words=strategy == "text")
    check_samples(samples, baseline, noise)
    how, unit = How(credit, anchor, radius, freeze_unconditional), price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    start = propose(model, [prompt] * len(seeds), seeds)
    kept, recipes = open_journal(journal, ledger, model, verifier, prompt), described(propose, start, seeds)
    walk = Chains(cast(TokenModel, model), verifier, prompt, recipes, kept)
    round = walk.begin(start, {"text": text_share, "image": image_share}, lr)
    start, again = start.repeat_interleave(samples, 0), unit.times(len(seeds) * samples)
    for k in count(1):
        planned = int(min(k - 1 + ledger.affords(again), 10**9 if iterations is None else iterations))
        last = k > planned or (until is not None and bool((round.scores.total > until).any()))
        yield round._replace(done=last or keep == "best")
        if last:
            return
        walk.move(moving := turn(strategy, k, planned), walk.gains(round, baseline, shift, diversity), how)
        if noise == "fresh":
            start = randn(rng.seeds(len(start)), model.noise_shape)
        free = strategy == "text" or (strategy == "t2v" and "text" in moving)  # image tokens are left to chance
        round = walk.redraw(start, moving, free)


def check_samples(samples: int, baseline: Baseline, noise: str) -> None:
    """Raise ValueError for samples that cannot be compared."""
    if samples == 1 and baseline == "loo":
        raise ValueError(
            "baseline=loo compares the samples of a round and samples is 1; take samples=2 or baseline=ema"
        )
    if samples > 1 and noise == "common":
        raise ValueError(f"samples={samples} with noise=common are one picture {samples} times; take noise=fresh")


def turn(strategy: Strategy, k: int, planned: int) -> tuple[Side, ...]:
    """Which sides update number k = 1, 2, ... of `planned` moves."""
    if strategy in ("text", "image"):
        return (strategy,)
    if strategy == "joint":
        return ("text", "image")
    first = k % 2 == 1 if strategy == "alt" else k <= planned // 2
    return ("text",) if first else ("image",)
