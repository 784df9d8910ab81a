"""Latent noise: Gaussian noise on the states behind the first tokens, a control for gradient searches on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, cast

import torch
from pydantic import Field, NonNegativeFloat

from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, derive, described, exactly, gaussian, randn
from gensearch.core.price import price
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import next_round, roll
from gensearch.core.types import Model, Noise, Proposal, Round
from gensearch.core.verbs import TokenModel
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
    """Perturb the states behind the first picture's first tokens by N(0, sigma^2), and draw the other tokens anew.

    Source: LatentTTS, Wang et al. 2025, arXiv:2510.07745, sampling by additive Gaussian noise.

    It shifts the same states as milr, but without a gradient. The first picture is a plain one.

    Args:
        n: number of pictures; integer above 0 (default None: as many as the budget allows)
        text_share: share of the plan's tokens that the states choose; number at least 0 and at most 1 (default 0.2)
        image_share: share of the image tokens that the states choose; number at least 0 and at most 1 (default 0.02)
        sigma: standard deviation of the noise, in units of the states; number at least 0 (default 0.6)
        propose: makes the noise of the plain picture (default gaussian)

    Raises:
        ValueError: the model draws no image tokens.
    """
    require_tokens(model, "latent_noise")
    tokens = cast(TokenModel, model)
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
        parts = torch.split(randn(fresh, model.noise_shape), [tokens.text_length, tokens.image_length], 1)
        made = torch.cat(
            [decide(tokens, side, noise, fresh, sigma) for side, noise in zip(sides, parts, strict=True)], 1
        )
        state, media, scores = roll(model, verifier, prompt, made)
        yield Round(media, scores, exactly(plain * size, made[:, None]), tuple(range(drawn, drawn + size)), (0,) * size)
        drawn += size


def decide(model: TokenModel, side: Latents, noise: Noise, seeds: Sequence[int], sigma: float) -> Noise:
    """Noise of one side [b, n], its first positions chosen by latents that are perturbed for each sample."""
    rows = []
    for seed, own in zip(seeds, noise, strict=True):
        xi = sigma * randn([derive(seed, side.side)], side.start.shape[1:])
        rows.append(side.disturbed(xi).decide(model, own[None, None])[0])
    return torch.cat(rows)
