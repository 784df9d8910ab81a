"""DNO: gradient ascent on every noise of a trajectory, also for judges without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian, master, step_noise
from gensearch.core.price import fee, price
from gensearch.core.requires import require_gradients
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.gradient.climb import Sounded, climb, clip, downhill
from gensearch.search.gradient.regularise import regulariser
from gensearch.search.knobs import Count
from verifiers.types import Verifier

BETAS, EPS = (0.9, 0.999), 1e-8  # AdamW's


def dno(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: Count = None,
    chains: PositiveInt = 1,
    lr: PositiveFloat = 0.01,
    max_norm: PositiveFloat = 1.0,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    reward_weight: NonNegativeFloat = 1.0,
    regularise: str = "probability",
    probes: PositiveInt = 16,
    checkpointing: bool = False,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Optimise x_T and, with stochastic steps, their noises too (DNO, Tang et al. 2024, arXiv:2405.18881).

    AdamW with each sample's gradient clipped to `max_norm`; the penalty reads all noises at once. n evaluations take
    n - 1 updates, of which the paper makes 100; the first picture is the plain one. A judge without gradients is asked
    about `probes` disturbed pictures for each step: its slope among pictures is estimated, and carried back to the
    noise exactly (the paper's hybrid gradient). `checkpointing` trades time for memory.
    """
    require_gradients(model, "dno")
    keep = regulariser(regularise)
    unit = price(model, *[verifier] * (1 if verifier.differentiable else 1 + probes))
    ledger.require(f"dno on {model.name}", unit.plus(fee(propose)))
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    prompts, size = [prompt] * len(seeds), len(seeds)
    judge = verifier if verifier.differentiable else Sounded(verifier, probes, seeds)
    first = master(propose(model, prompts, seeds))
    plain = described(propose, first, seeds)
    steps = [step_noise(plain, step, model.noise_shape) for step in range(1, model.num_steps)]
    noise = start = torch.stack([first, *(steps if model.stochastic else ())], 1)  # [b, 1 + steps, *noise_shape]
    mean, square = torch.zeros_like(noise), torch.zeros_like(noise)
    found = climb(model, judge, prompts, noise.unbind(1), plain, checkpointing)
    yield found.round(plain, 0)
    again = unit.plus(Cost(backward=unit.nfe)).times(size)
    for i in ledger.rounds(None if iterations is None else iterations - 1, again):
        slope = torch.stack(found.slope(model, ledger), 1)
        away = downhill(keep, noise.flatten(1, 2), start.flatten(1, 2)).view_as(noise)
        descent = clip(away - reward_weight * slope, max_norm)
        mean, square = torch.lerp(descent, mean, BETAS[0]), torch.lerp(descent.square(), square, BETAS[1])
        unbiased, size_of = mean / (1 - BETAS[0] ** (i + 1)), square / (1 - BETAS[1] ** (i + 1))
        moved = noise * (1 - lr * decay) - lr * unbiased / (size_of.sqrt() + EPS)
        noise = keep.project(moved.flatten(1, 2), start.flatten(1, 2)).view_as(noise)
        recipes = exactly(plain, noise)
        found = climb(model, judge, prompts, noise.unbind(1), plain, checkpointing)
        yield found.round(recipes, i + 1)
