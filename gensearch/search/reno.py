"""ReNO: gradient ascent on the starting noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gensearch.gradient import climb, clip, downhill, master, require_gradients
from gensearch.ledger import Cost, Ledger
from gensearch.noise import Rng, described, exact, gaussian
from gensearch.regularise import regulariser
from gensearch.sampling import price
from gensearch.types import Model, Proposal, Round
from verifiers.types import Verifier


def reno(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: PositiveInt | None = None,
    chains: PositiveInt = 1,
    lr: PositiveFloat = 5.0,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    max_norm: PositiveFloat = 0.1,
    reward_weight: NonNegativeFloat = 1.0,
    regularise: str = "0.01*chi",
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Follow the reward's gradient through model and verifier (ReNO, Eyring et al. 2024, arXiv:2406.04312).

    Each of `iterations` (None: as many as the ledger pays; the paper takes 50) scores the noise of every chain, and
    between two of them it moves by SGD with Nesterov momentum on `reward_weight` * score less the penalty, each
    sample's gradient clipped to `max_norm`. n evaluations, n - 1 updates; the first is the plain picture. The best by
    reward alone is returned. Raises ValueError where gradients do not pass.
    """
    require_gradients(model, verifier, "reno")
    keep = regulariser(regularise)
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit))))
    prompts, size = [prompt] * len(seeds), len(seeds)
    start = master(propose(model, prompts, seeds))
    noise, speed = start, torch.zeros_like(start)
    plain = recipes = described(propose, start, seeds)
    found = climb(model, verifier, prompts, [noise], recipes)
    yield Round(found.media, found.scores, recipes, tuple(range(size)), (None,) * size)
    again = unit.plus(Cost(backward=unit.nfe)).times(size)
    for i in ledger.rounds(None if iterations is None else iterations - 1, again):
        (slope,) = found.slope(model, ledger)
        descent = clip(downhill(keep, noise, start) - reward_weight * slope, max_norm)
        speed = momentum * speed + descent
        noise = keep.project(noise - lr * (descent + momentum * speed), start)
        recipes = tuple((*recipe, exact(x[None])) for recipe, x in zip(plain, noise, strict=True))
        found = climb(model, verifier, prompts, [noise], recipes)
        ids = range((i + 1) * size, (i + 2) * size)
        yield Round(found.media, found.scores, recipes, tuple(ids), tuple(id - size for id in ids))
