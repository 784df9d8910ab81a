"""The base of the generators in closed form: their path, guidance, physical batches and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gensearch.core.types import Noise, State
from gensearch.core.verbs import Transition
from gensearch.models.batching import in_batches
from gensearch.models.fingerprint import module_hash
from verifiers.types import Media

Guidance = Annotated[float, Field(allow_inf_nan=False)] | None
Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Toy(ABC):
    """The base of the toys: the path x_t = (1 - t) x_0 + t e from t = 1 to 0, guidance, physical batches, pictures.

    Samples are [c, h, w] with c = 1 or 3; [-8, 8] is shown as [0, 1].

    Args:
        network: The denoiser.
        noise_shape: (c, h, w).
        num_steps: Network steps, 1 or more.
        churn: The share of the noise that each step replaces, 0 (an ODE) to 1.
        guidance: The scale, with two forwards per step; None for one forward without guidance.
        batch_size: The largest physical batch.
    """

    name: str
    verbs = frozenset({"branch", "rewind", "transition", "gradient"})

    def __init__(
        self,
        network: nn.Module,
        noise_shape: tuple[int, ...],
        num_steps: int,
        churn: float,
        guidance: float | None,
        batch_size: int,
    ) -> None:
        self.network = network
        self.decoder = Decoder()
        self.noise_shape = noise_shape
        self.num_steps = num_steps
        self.nfe_per_step = 1 if guidance is None else 2
        self.batch_size = batch_size
        self.stochastic = churn > 0
        self.churn = churn
        self.guidance = guidance
        self.times = torch.linspace(1, 0, num_steps + 1)[:-1]  # of network step 1, 2, ...

    @abstractmethod
    def condition(self, prompt: str) -> Tensor:
        """What the network is conditioned on; the empty prompt is unconditional."""

    @abstractmethod
    def transition(self, state: State) -> Transition:
        """The Gaussian kernel of the next step; rows must not be done."""

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """The first network step."""
        conditions = torch.stack([self.condition(prompt) for prompt in prompts])
        step = torch.ones(len(prompts), dtype=torch.long)
        return self._stepped(tuple(prompts), step, noise, conditions)

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """One more network step."""
        mean, std = self.transition(state)
        x = mean if noise is None or not self.stochastic else mean + std * noise
        return self._stepped(state.prompts, state.step + 1, x, state.extra["condition"])

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State:
        """Noise rows back to an earlier step by the forward kernel of the path, and take the network step there."""
        t, earlier = wide(self.times[state.step - 1]), wide(self.times[step - 1])
        ratio = (1 - earlier) / (1 - t)
        x = ratio * state.x + (earlier**2 - (ratio * t) ** 2).sqrt() * noise
        return self._stepped(state.prompts, step, x, state.extra["condition"])

    def render(self, state: State) -> Media:
        """Pictures [b, 3, h, w] of the clean estimates."""
        pictures = in_batches(self.decoder, self.batch_size, state.clean)
        return pictures.expand(-1, 3, -1, -1).contiguous()

    def fingerprint(self) -> dict[str, Any]:
        """Everything the bits of a sample depend on, less the machine."""
        names = ("name", "noise_shape", "num_steps", "churn", "guidance", "batch_size")
        return {name: getattr(self, name) for name in names} | {"weights": module_hash(self.network)}

    def _stepped(self, prompts: tuple[str, ...], step: Tensor, x: Tensor, conditions: Tensor) -> State:
        clean = in_batches(self._denoise, self.batch_size, x, self.times[step - 1], conditions)
        return State(prompts, step, self.num_steps, x, clean, {"condition": conditions})

    def _denoise(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        if self.guidance is None:
            clean: Tensor = self.network(x, t, condition)
            return clean
        nothing = self.condition("").expand_as(condition)
        both: Tensor = self.network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([condition, nothing]))
        conditional, unconditional = both.chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)


class Decoder(nn.Module):
    """Pictures of samples: [-8, 8] becomes [0, 1]; without exp, which rounds differently at the end of an array."""

    def forward(self, x: Tensor) -> Tensor:
        """Pictures of samples, of the same shape."""
        return (x / 16 + 0.5).clamp(0, 1)


def undrawn(media: Media) -> Tensor:
    """The sample of a picture [b, 3, h, w], with three equal channels if it had one."""
    return (media - 0.5) * 16


def wide(values: Tensor) -> Tensor:
    """Per-sample numbers [b] as [b, 1, 1, 1]."""
    return values[:, None, None, None]
