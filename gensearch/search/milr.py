"""MILR: policy gradient on the latents of text and image of a unified token model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, cast

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from gensearch.gumbel import given
from gensearch.latents import Baseline, Credit, Latents, advantages, follow, slope, within
from gensearch.ledger import Ledger
from gensearch.noise import Rng, described, exactly, gaussian, randn
from gensearch.sampling import fee, price, require_tokens, roll
from gensearch.types import Model, Noise, Proposal, Round, Side, TokenModel, Trace
from verifiers.types import Media, Verifier

Strategy = Literal["joint", "alt", "t2v", "text", "image"]
Share = Annotated[float, Field(ge=0, le=1)]


def milr(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: NonNegativeInt | None = None,
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
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Move the states behind the first tokens towards higher reward, and draw the rest anew (arXiv:2509.22761, Alg. 1).

    One plain picture for each of `chains`, then `iterations` (None: as many as the ledger pays) updates by Adam, each
    followed by `samples` pictures: the latents choose the first tokens, `text_share` of the plan and `image_share` of
    the picture, and the model goes on from there with `fresh` noise or with the chain's own. `strategy` joint moves
    both sides; alt text, then image, in turn; t2v text for the first half and image then; text or image one alone.
    Rewards are score + `shift` + `diversity` * distance to the pictures of other chains, less a `baseline`. `anchor` is
    the price of a nat away from the start, `radius` bounds each state's way. Stops once a score exceeds `until`. With
    `keep` last all but the last pictures are previews, as published. Raises ValueError for models without tokens.
    """
    require_tokens(model, "milr")
    tokens, how = cast(TokenModel, model), How(credit, anchor, radius, freeze_unconditional)
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    chains, size, m = len(seeds), len(seeds) * samples, 1
    own = propose(model, [prompt] * chains, seeds)
    recipes, start = described(propose, own, seeds), own.repeat_interleave(samples, 0)
    state, media, scores = roll(model, verifier, prompt, own)
    trace = tokens.trace(state)
    ascent = Ascent.start(tokens, trace, {"text": text_share, "image": image_share}, lr)
    ids, average = range(chains), None
    again = unit.times(size)
    planned = int(min(ledger.affords(again), 10**9 if iterations is None else iterations))
    for k in range(1, planned + 2):
        reached = until is not None and bool((scores.total > until).any())
        last = reached or k > planned or ledger.affords(again) < 1
        from_ = [None] * chains if ids[0] == 0 else [chain for chain in range(chains) for _ in range(m)]
        yield Round(media, scores, tuple(recipes), tuple(ids), tuple(from_), done=last or keep == "best")
        if last:
            return
        rewards = (
            scores.total.cpu().double().view(chains, m) + shift + (diversity * apart(media, m) if diversity else 0)
        )
        moving = turn(strategy, k, planned)
        ascent.move(moving, trace, advantages(rewards, baseline, average), how)
        average, m = follow(average, rewards), samples
        if noise == "fresh":
            start = randn(rng.seeds(size), model.noise_shape)
        free = strategy == "text" or (strategy == "t2v" and "text" in moving)  # image tokens are left to chance
        made = ascent.noise(start.unflatten(0, (chains, m)), moving, free).flatten(0, 1)
        state, media, scores = roll(model, verifier, prompt, made)
        trace, ids = tokens.trace(state), range(ids[-1] + 1, ids[-1] + 1 + size)
        ascent.plan = trace.text[::m]
        firsts = [recipe for recipe in described(gaussian, own, seeds) for _ in range(m)]
        recipes = exactly(firsts, made[:, None])


class How(NamedTuple):
    """What a move is bounded by."""

    credit: Credit
    anchor: float
    radius: float | None
    freeze_unconditional: bool


@dataclass
class Ascent:
    """The latents of both sides, an optimiser for each, and the plans [chains, t], kept where text is not moved."""

    model: TokenModel
    latents: dict[Side, Latents]
    adam: dict[Side, torch.optim.Adam]
    plan: Tensor

    @classmethod
    def start(cls, model: TokenModel, trace: Trace, shares: dict[Side, float], lr: float) -> Ascent:
        """From the first pictures of all chains."""
        latents = {side: Latents.take(side, trace, share) for side, share in shares.items()}
        return cls(model, latents, {side: torch.optim.Adam([part.z], lr) for side, part in latents.items()}, trace.text)

    def move(self, sides: Sequence[Side], trace: Trace, gains: Tensor, how: How) -> None:
        """One step up the slope that samples show, gains [chains, m]."""
        for side in sides:
            part = self.latents[side]
            drawn, said = credited(trace, part, gains.shape[1])
            found = slope(self.model, part, drawn, said, gains, how.credit, how.anchor)
            if how.freeze_unconditional and side == "image":
                found[..., 1:, :] = 0
            part.z.grad = -found
            self.adam[side].step()
            if how.radius is not None:
                part.z.copy_(within(part.z, part.start, how.radius))

    def noise(self, start: Noise, moving: Sequence[Side], free: bool) -> Noise:
        """Noise [chains, m, positions] whose first positions say what the latents choose.

        A plan that is not moved is kept, and image tokens may be left `free`.
        """
        words, pixels = start[..., : self.model.text_length], start[..., self.model.text_length :]
        if "text" in moving:
            words = self.latents["text"].decide(self.model, words)
        else:
            words = given(self.plan)[:, None].expand_as(words)
        return torch.cat([words, pixels if free else self.latents["image"].decide(self.model, pixels)], 2)


def turn(strategy: Strategy, k: int, planned: int) -> tuple[Side, ...]:
    """Which sides update number k = 1, 2, ... of `planned` moves."""
    if strategy in ("text", "image"):
        return (strategy,)
    if strategy == "joint":
        return ("text", "image")
    first = k % 2 == 1 if strategy == "alt" else k <= planned // 2
    return ("text",) if first else ("image",)


def credited(trace: Trace, latents: Latents, m: int) -> tuple[Tensor, Tensor]:
    """The tokens [chains, m, n] of a side at the positions in play, and which of them were said at all."""
    tokens = trace.text if latents.side == "text" else trace.image
    n = latents.z.shape[1]
    lengths = trace.lengths if latents.side == "text" else torch.full((len(tokens),), tokens.shape[1])
    said = torch.arange(n) < lengths[:, None]
    return tokens[:, :n].unflatten(0, (-1, m)), said.unflatten(0, (-1, m))


def apart(media: Media, m: int) -> Tensor:
    """How far pictures are from those of other chains, [chains, m]: the mean distance of pixels on an 8x8 grid."""
    small = torch.nn.functional.adaptive_avg_pool2d(media.float().cpu(), 8).flatten(1).double()
    distance = torch.cdist(small, small, p=1) / small.shape[1]
    chain = torch.arange(len(media)) // m
    other = (chain[:, None] != chain).double()
    return ((distance * other).sum(1) / other.sum(1).clamp(min=1)).view(-1, m)
