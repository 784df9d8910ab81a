"""Latent noise: Gaussian noise on the states behind the first tokens, the control for gradients on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat

from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, derive, described, exactly, gaussian, randn
from gensearch.core.price import price
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import next_round, roll
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.knobs import Count
from gensearch.search.tokens.latents import Latents
from verifiers.types import Verifier


def latent_noise(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: Count = None,
    text_share: Annotated[float, Field(ge=0, le=1)] = 0.2,
    image_share: Annotated[float, Field(ge=0, le=1)] = 0.02,
    sigma: NonNegativeFloat = 0.6,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Disturb the first picture's states by N(0, sigma^2), draw the rest anew, score (LatentTTS, arXiv:2510.07745).

    `n` pictures (None: as many as the ledger pays), the first of them plain; the shares are those of `milr`, of which
    this is the search without a gradient. Raises ValueError for models without tokens.
    """
    require_tokens(model, "latent_noise")
    tokens: Any = model
    unit, seeds = price(model, verifier), rng.seeds(1)
    own = propose(model, [prompt], seeds)
    plain = described(propose, own, seeds)
    state, media, scores = roll(model, verifier, prompt, own)
    yield Round(media, scores, plain, (0,), (None,))
    trace, drawn = tokens.trace(state), 1
    sides = [Latents.take("text", trace, text_share), Latents.take("image", trace, image_share)]
    while left := min((n or float("inf")) - drawn, ledger.affords(unit)):
        fresh = rng.seeds(next_round(model, left))
        size = len(fresh)
        parts = randn(fresh, model.noise_shape).split([tokens.text_length, tokens.image_length], 1)
        made = torch.cat(
            [decide(tokens, side, noise, fresh, sigma) for side, noise in zip(sides, parts, strict=True)], 1
        )
        state, media, scores = roll(model, verifier, prompt, made)
        yield Round(media, scores, exactly(plain * size, made[:, None]), tuple(range(drawn, drawn + size)), (0,) * size)
        drawn += size


def decide(model: Any, side: Latents, noise: torch.Tensor, seeds: tuple[int, ...], sigma: float) -> torch.Tensor:
    """Noise of one side [b, n], its first positions decided by latents that were disturbed for each sample."""
    rows = []
    for seed, own in zip(seeds, noise, strict=True):
        xi = sigma * randn([derive(seed, side.side)], side.start.shape[1:])
        rows.append(side.disturbed(xi).decide(model, own[None, None])[0])
    return torch.cat(rows)
