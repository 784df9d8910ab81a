"""DNO: gradient ascent on every noise of a trajectory, also for verifiers that are not differentiable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian, master, step_noise
from gensearch.core.price import fee, price
from gensearch.core.requires import require_gradients
from gensearch.core.types import Model, Noise, Proposal, Recipe, Round
from gensearch.search.gradient.climb import EstimatedGradient, climb, clip, downhill
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
    """Optimise the initial noise and, with a stochastic sampler, the noise of every step.

    Source: DNO, Tang et al. 2024, arXiv:2405.18881, with the hybrid gradient for verifiers without gradients.

    AdamW with one penalty on all noises together. n evaluations, the first of the plain sample, take n - 1 updates; a
    backward pass counts as two forward ones. A verifier without gradients takes 1 + `probes` scores per evaluation.

    Args:
        iterations: evaluations per chain, 101 in the paper; integer above 0 (default None: until the budget is spent)
        chains: trajectories that are optimised side by side; integer above 0 (default 1)
        lr: learning rate; number above 0 (default 0.01)
        max_norm: norm to which each sample's gradient is clipped; number above 0 (default 1.0)
        decay: weight decay of AdamW; number at least 0 and below 1 (default 0.0)
        reward_weight: weight of the score against the penalty; number at least 0 (default 1.0)
        regularise: weighted sum of penalties, named as in reno; text (default probability)
        probes: random directions that estimate the gradient of the score in pixels; integer above 0 (default 16)
        checkpointing: recompute activations, less memory for more time; True or False (default False)
        propose: makes the initial noise (default gaussian)

    Raises:
        ValueError: the model passes no gradients, or `regularise` names an unknown penalty.
    """
    require_gradients(model, "dno")
    keep = regulariser(regularise)
    unit = price(model, *[verifier] * (1 if verifier.differentiable else 1 + probes))
    ledger.require(f"dno on {model.name}", unit.plus(fee(propose)))
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    prompts, size = [prompt] * len(seeds), len(seeds)
    guide = verifier if verifier.differentiable else EstimatedGradient(verifier, probes, seeds)
    plain, noise = trajectory(model, propose, prompts, seeds)  # [b, 1 + steps, *noise_shape]
    start, optimizer = noise, AdamW(noise, lr, decay)
    found = climb(model, guide, prompts, noise.unbind(1), plain, checkpointing)
    yield found.round(plain, 0)
    again = unit.plus(Cost(backward=unit.nfe)).times(size)
    for i in ledger.rounds(None if iterations is None else iterations - 1, again):
        slope = torch.stack(found.slope(model, ledger), 1)
        away = downhill(keep, noise.flatten(1, 2), start.flatten(1, 2)).view_as(noise)
        moved = optimizer.step(noise, clip(away - reward_weight * slope, max_norm))
        noise = keep.project(moved.flatten(1, 2), start.flatten(1, 2)).view_as(noise)
        found = climb(model, guide, prompts, noise.unbind(1), plain, checkpointing)
        yield found.round(exactly(plain, noise), i + 1)


class AdamW:
    """The optimiser of the paper (Loshchilov and Hutter 2019, arXiv:1711.05101) on tensors that are no parameters."""

    def __init__(self, noise: Noise, lr: float, decay: float) -> None:
        self.lr = lr
        self.decay = decay
        self.mean = self.square = torch.zeros_like(noise)
        self.steps = 0

    def step(self, noise: Noise, descent: Noise) -> Noise:
        """The noise after one step along a gradient."""
        self.steps += 1
        self.mean = torch.lerp(descent, self.mean, BETAS[0])
        self.square = torch.lerp(descent.square(), self.square, BETAS[1])
        mean, square = self.mean / (1 - BETAS[0] ** self.steps), self.square / (1 - BETAS[1] ** self.steps)
        return noise * (1 - self.lr * self.decay) - self.lr * mean / (square.sqrt() + EPS)


def trajectory(
    model: Model, propose: Proposal, prompts: Sequence[str], seeds: Sequence[int]
) -> tuple[tuple[Recipe, ...], Noise]:
    """The recipes of plain samples and their noises: x_T and, if the sampler is stochastic, one for each step."""
    first = master(propose(model, prompts, seeds))
    plain = described(propose, first, seeds)
    steps = range(1, model.num_steps) if model.stochastic else ()
    return plain, torch.stack([first, *(step_noise(plain, step, model.noise_shape) for step in steps)], 1)
