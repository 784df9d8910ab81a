"""ReNO: gradient ascent on the initial noise."""

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
    """Follow the gradient of the reward from the verifier through the model to the initial noise.

    Source: ReNO, Eyring et al. 2024, arXiv:2406.04312.

    SGD with Nesterov momentum on `reward_weight` * score less the penalty. n evaluations take n - 1 updates, and a
    backward pass counts as two forward ones; the first sample is the plain one. The best by reward alone is returned.

    Args:
        iterations: evaluations per chain, 50 in the paper; integer above 0 (default None: until the budget is spent)
        chains: noises that are optimised side by side; integer above 0 (default 1)
        lr: learning rate; number above 0 (default 5.0)
        momentum: Nesterov momentum; number at least 0 and below 1 (default 0.9)
        max_norm: norm to which each sample's gradient is clipped; number above 0 (default 0.1)
        reward_weight: weight of the score against the penalty; number at least 0 (default 1.0)
        regularise: weighted sum of chi, shift, probability, spectral and projection, or none; text (default 0.01*chi)
        checkpointing: recompute activations, less memory for more time; True or False (default False)
        propose: makes the initial noise (default gaussian)

    Raises:
        ValueError: the model or the verifier passes no gradients, or `regularise` names an unknown penalty.
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
