"""The simplest generator that a hypernetwork can be made for: what comes out is the noise that went in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gensearch.core.noise import derive, randn
from gensearch.core.types import Noise, State
from verifiers.types import Media, Scores


class Identity:
    """Media are the noise itself, so the law of a tilt is known in closed form."""

    name = "identity"
    num_steps = nfe_per_step = 1
    stochastic = False
    verbs = frozenset({"branch", "gradient", "look"})
    last_layer = "0"
    pure, guidance = 1.0, 0.0

    def __init__(self, shape: tuple[int, int, int] = (2, 2, 2), batch_size: int = 4) -> None:
        self.noise_shape = shape
        self.batch_size = batch_size
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Conv2d(shape[0], shape[0], 1)).requires_grad_(False)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        return State(tuple(prompts), torch.ones(len(noise), dtype=torch.long), 1, noise, noise, {})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        raise ValueError("done")

    def render(self, state: State) -> Media:
        return state.clean

    def fingerprint(self) -> dict[str, Any]:
        return {"model": self.name}

    def conditions(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        return (torch.stack([randn([derive("text", prompt)], (3, 4))[0] for prompt in prompts]),)

    def look(self, network: nn.Module, noise: Noise, text: Tensor) -> Tensor:
        return network(noise + text.mean((1, 2))[:, None, None, None])


class Linear:
    """direction . media."""

    name = "linear"
    differentiable = True

    def __init__(self, direction: Tensor) -> None:
        self.direction = direction

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        return Scores((media * self.direction).flatten(1).sum(1), {})


class Bowl(Linear):
    """-strength / 2 * |media - centre|^2."""

    def __init__(self, centre: float, strength: float) -> None:
        self.centre, self.strength = centre, strength

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        return Scores(-self.strength / 2 * (media - self.centre).square().flatten(1).sum(1), {})
