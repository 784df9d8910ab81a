"""MILR: policy gradient on the latents of text and image tokens of a unified autoregressive model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Literal, NamedTuple, cast

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
Fresh = Literal["fresh", "common"]
Keep = Literal["best", "last"]


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
    strategy: Strategy = "image",
    text_share: Share = 0.2,
    image_share: Share = 0.1,
    lr: NonNegativeFloat = 0.03,
    credit: Credit = "sampled",
    baseline: Baseline = "ema",
    shift: float = 0.0,
    noise: Fresh = "fresh",
    anchor: NonNegativeFloat = 0.0,
    radius: PositiveFloat | None = None,
    freeze_unconditional: bool = False,
    diversity: NonNegativeFloat = 0.0,
    until: float | None = None,
    keep: Keep = "best",
    journal: str = "",
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Shift the states behind the first tokens towards higher reward, and draw the other tokens anew.

    Source: MILR, Mi et al. 2025, arXiv:2509.22761, Alg. 1; the preset janus_pro_7b__milr_paper follows its code.

    Args:
        iterations: updates of the states; integer at least 0 (default None: until the budget is spent)
        chains: optimisations side by side, each from a plain picture; integer above 0 (default 1)
        samples: pictures of a chain after each update; integer above 0 (default 1)
        strategy: states to update: both, alternating, text first or one; joint, alt, t2v, text or image (default image)
        text_share: share of the plan's tokens that the states choose; number at least 0 and at most 1 (default 0.2)
        image_share: share of the image tokens that the states choose; number at least 0 and at most 1 (default 0.1)
        lr: learning rate of Adam; number at least 0 (default 0.03)
        credit: tokens whose log-probability is weighted, drawn or likeliest ones; sampled or argmax (default sampled)
        baseline: subtracted from rewards, a running or leave-one-out mean; none, ema or loo (default ema)
        shift: added to every score; number (default 0.0)
        noise: of all tokens, new for each picture or the chain's own; fresh or common (default fresh)
        anchor: weight of the KL divergence from the start, per nat; number at least 0 (default 0.0)
        radius: largest distance of a state from its start, in norms of the start; number above 0 (default None)
        freeze_unconditional: leave the unconditional rows of image states as they are; True or False (default False)
        diversity: weight of the distance to the pictures of other chains; number at least 0 (default 0.0)
        until: score above which the search stops; number (default None: it does not)
        keep: picture to return, the last one as published; best or last (default best)
        journal: folder that keeps pictures, so that a search that was stopped goes on; text (default "")
        propose: makes the noise of the plain pictures (default gaussian)

    Raises:
        ValueError: the model has no image tokens (strategy=text needs none), `samples` fits no baseline or noise, or
            text would be credited for what was not drawn: it takes plan=sampled, several samples and baseline=loo.
    """
    gain, how = Gain(baseline, shift, diversity), How(credit, anchor, radius, freeze_unconditional)
    loop = Loop(iterations, chains, samples, strategy, text_share, image_share, lr, noise, until, keep, journal)
    yield from ascend(model, verifier, prompt, loop, gain, how, rng=rng, ledger=ledger, propose=propose)


class Gain(NamedTuple):
    """How scores become rewards."""

    baseline: Baseline
    shift: float
    diversity: float


class Loop(NamedTuple):
    """What is drawn and shifted, and when it ends."""

    iterations: int | None
    chains: int
    samples: int
    strategy: Strategy
    text_share: float
    image_share: float
    lr: float
    noise: Fresh
    until: float | None
    keep: Keep
    journal: str


def ascend(
    model: Model,
    verifier: Verifier,
    prompt: str,
    loop: Loop,
    gain: Gain,
    how: How,
    *,
    rng: Rng,
    ledger: Ledger,
    propose: Proposal,
) -> Iterator[Round]:
    """Algorithm 1: draw a plain picture for each chain, then shift the states and draw pictures with them in turn.

    The states choose the first tokens of plan and picture, and the model goes on from there. An update maximises score
    + shift + diversity * distance to the pictures of other chains, less the baseline. One reward has nothing to be
    compared with, so that a baseline takes one round of pictures from the states as they are before the first update.
    With keep=last all pictures but the last are previews. A journal makes the same call go on with pictures that were
    drawn before.
    """
    require_tokens(model, "milr", words=loop.strategy == "text")
    check_samples(loop.samples, gain.baseline, loop.noise)
    check_text(cast(TokenModel, model), loop, gain.baseline, how.credit)
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(loop.chains, ledger.affords(unit.plus(fee(propose))))))
    start = propose(model, [prompt] * len(seeds), seeds)
    kept, recipes = open_journal(loop.journal, ledger, model, verifier, prompt), described(propose, start, seeds)
    walk = Chains(cast(TokenModel, model), verifier, prompt, recipes, kept)
    round = walk.begin(start, {"text": loop.text_share, "image": loop.image_share}, loop.lr)
    start, again = start.repeat_interleave(loop.samples, 0), unit.times(len(seeds) * loop.samples)
    most = 10**9 if loop.iterations is None else loop.iterations
    for k in count(1 if gain.baseline == "none" else 0):  # update 0 shifts nothing
        left = ledger.affords(again)
        good = loop.until is not None and bool((round.scores.total > loop.until).any())
        last = good or left < 1 or max(k, 1) > most
        yield round._replace(done=last or loop.keep == "best")
        if last:
            return
        moving, gains = turn(loop.strategy, max(k, 1), int(min(k - 1 + left, most))), walk.gains(round, *gain)
        if k:
            walk.move(moving, gains, how)
        if loop.noise == "fresh":
            start = randn(rng.seeds(len(start)), model.noise_shape)
        free = loop.strategy == "text" or (loop.strategy == "t2v" and "text" in moving)  # image tokens are drawn freely
        round = walk.redraw(start, moving, free)


def check_samples(samples: int, baseline: Baseline, noise: Fresh) -> None:
    """Raise ValueError for samples that cannot be compared."""
    if samples == 1 and baseline == "loo":
        raise ValueError(
            "baseline=loo compares the samples of a round and samples is 1; take samples=2 or baseline=ema"
        )
    if samples > 1 and noise == "common":
        raise ValueError(f"samples={samples} with noise=common are one picture {samples} times; take noise=fresh")
    if baseline == "ema" and noise == "common":
        raise ValueError(
            "noise=common with baseline=ema is one picture again and again, as no reward differs from the first; "
            "take noise=fresh or baseline=none"
        )


def check_text(model: TokenModel, loop: Loop, baseline: Baseline, credit: Credit) -> None:
    """Raise ValueError for text states that would follow the luck of the picture instead of the words.

    Credit for drawn words needs words that are drawn, and several plans of one round to compare. The published
    estimator (credit=argmax) claims neither.
    """
    moves = loop.strategy != "image" and loop.lr > 0 and loop.text_share > 0 and model.text_length > 0
    if not moves or credit == "argmax":
        return
    other = "or strategy=image, or credit=argmax as published" if model.image_length else "or credit=argmax"
    if model.greedy:
        raise ValueError(
            f"strategy={loop.strategy} credits the words that are drawn, and {model.name} takes the likeliest ones; "
            f"take plan=sampled with samples=4 and baseline=loo, {other}"
        )
    if loop.samples == 1 or baseline != "loo":
        raise ValueError(
            f"strategy={loop.strategy} compares the plans of a round, and samples={loop.samples} with "
            f"baseline={baseline} does not; take samples=4 and baseline=loo, {other}"
        )


def turn(strategy: Strategy, k: int, planned: int) -> tuple[Side, ...]:
    """Which sides update number k = 1, 2, ... of `planned` shifts.

    joint: both; alt: text and image in turn; t2v: text in the first half, image in the second; text or image: that one.
    """
    if strategy in ("text", "image"):
        return (strategy,)
    if strategy == "joint":
        return ("text", "image")
    first = k % 2 == 1 if strategy == "alt" else k <= planned // 2
    return ("text",) if first else ("image",)
