"""ReNO: gradient ascent on the starting noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian, master
from gensearch.core.price import fee, price
from gensearch.core.requires import require_differentiable, require_gradients
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.gradient.climb import climb, clip, downhill
from gensearch.search.gradient.regularise import regulariser
from gensearch.search.knobs import Count
from verifiers.types import Verifier


def reno(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: Count = None,
    chains: PositiveInt = 1,
    lr: PositiveFloat = 5.0,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    max_norm: PositiveFloat = 0.1,
    reward_weight: NonNegativeFloat = 1.0,
    regularise: str = "0.01*chi",
    checkpointing: bool = False,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Follow the reward's gradient through model and verifier (ReNO, Eyring et al. 2024, arXiv:2406.04312).

    Each of `iterations` (None: as many as the ledger pays; the paper takes 50) scores the noise of every chain, and
    between two of them it moves by SGD with Nesterov momentum on `reward_weight` * score less the penalty, each
    sample's gradient clipped to `max_norm`. n evaluations, n - 1 updates; the first is the plain picture. The best by
    reward alone is returned. `checkpointing` trades time for memory. Raises ValueError where gradients do not pass.
    """
    require_gradients(model, "reno")
    require_differentiable(verifier, "reno")
    keep = regulariser(regularise)
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    prompts, size = [prompt] * len(seeds), len(seeds)
    start = master(propose(model, prompts, seeds))
    noise, speed = start, torch.zeros_like(start)
    plain = described(propose, start, seeds)
    found = climb(model, verifier, prompts, [noise], plain, checkpointing)
    yield found.round(plain, 0)
    again = unit.plus(Cost(backward=unit.nfe)).times(size)
    for i in ledger.rounds(None if iterations is None else iterations - 1, again):
        (slope,) = found.slope(model, ledger)
        descent = clip(downhill(keep, noise, start) - reward_weight * slope, max_norm)
        speed = momentum * speed + descent
        noise = keep.project(noise - lr * (descent + momentum * speed), start)
        recipes = exactly(plain, noise[:, None])
        found = climb(model, verifier, prompts, [noise], recipes, checkpointing)
        yield found.round(recipes, i + 1)
