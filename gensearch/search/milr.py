"""MILR: policy gradient on the latents of text and image of a unified token model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from gensearch.gumbel import given
from gensearch.latents import Baseline, Credit, Latents, advantages, follow, slope, within
from gensearch.ledger import Ledger
from gensearch.noise import Rng, described, exactly, gaussian, randn
from gensearch.sampling import fee, price, require_tokens, roll
from gensearch.types import Model, Proposal, Round, Side, Trace
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
    iterations: PositiveInt | None = None,
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
    tokens: Any = model
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    chains, size = len(seeds), len(seeds) * samples
    again = unit.times(size)
    planned = int(min(iterations or 10**9, max(0, (ledger.affords(again) - chains / size) // 1)))
    own = propose(model, [prompt] * chains, seeds)
    start, recipes = own[:, None].expand(-1, samples, -1), described(propose, own, seeds)
    state, media, scores = roll(model, verifier, prompt, own)
    trace = tokens.trace(state)
    ids: list[int] = list(range(chains))
    latents = {"text": Latents.take("text", trace, text_share), "image": Latents.take("image", trace, image_share)}
    adam = {side: torch.optim.Adam([part.z], lr) for side, part in latents.items()}
    plan, average, drawn, m = trace.text, None, chains, 1
    for k in range(1, planned + 2):
        reached = until is not None and bool((scores.total > until).any())
        last = reached or k > planned or ledger.affords(again) < 1
        yield Round(media, scores, tuple(recipes), tuple(ids), parents(ids, chains, m), done=last or keep == "best")
        if last:
            return
        rewards = scores.total.cpu().double().view(chains, m) + shift
        rewards = rewards + (diversity * apart(media, m) if diversity else 0)
        gains = advantages(rewards, baseline, average)
        average = follow(average, rewards)
        moving = turn(strategy, k, planned)
        for side in moving:
            part = latents[side]
            drawn_tokens, said = credited(trace, part, m)
            found = slope(tokens, part, drawn_tokens, said, gains, credit, anchor)
            if freeze_unconditional and side == "image":
                found[..., 1:, :] = 0
            part.z.grad = -found
            adam[side].step()
            if radius is not None:
                part.z.copy_(within(part.z, part.start, radius))
        if noise == "fresh":
            start = randn(rng.seeds(size), model.noise_shape).view(chains, samples, -1)
        words, pixels = start.split([tokens.text_length, tokens.image_length], 2)
        words = given(plan)[:, None].expand_as(words) if "text" not in moving else latents["text"].decide(tokens, words)
        if strategy not in ("text",) and not (strategy == "t2v" and "text" in moving):
            pixels = latents["image"].decide(tokens, pixels)
        made = torch.cat([words, pixels], 2).flatten(0, 1)
        state, media, scores = roll(model, verifier, prompt, made)
        trace, m = tokens.trace(state), samples
        plan = trace.text[::samples] if "text" in moving else plan
        ids, drawn = list(range(drawn, drawn + size)), drawn + size
        recipes = exactly([recipe for recipe in described(gaussian, own, seeds) for _ in range(samples)], made[:, None])


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


def parents(ids: list[int], chains: int, m: int) -> tuple[int | None, ...]:
    """Every picture after the first of its chain is derived from that first one."""
    if ids[0] == 0:
        return (None,) * len(ids)
    return tuple(chain for chain in range(chains) for _ in range(m))


def apart(media: Media, m: int) -> Tensor:
    """How far pictures are from those of other chains, [chains, m]: the mean distance of pixels on an 8x8 grid."""
    small = torch.nn.functional.adaptive_avg_pool2d(media.float().cpu(), 8).flatten(1).double()
    distance = torch.cdist(small, small, p=1) / small.shape[1]
    chain = torch.arange(len(media)) // m
    other = (chain[:, None] != chain).double()
    return ((distance * other).sum(1) / other.sum(1).clamp(min=1)).view(-1, m)
