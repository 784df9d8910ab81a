"""Generators in closed form: a Gaussian flow, its one-step distillation, and a mixture with a component per word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gensearch.core.noise import derive, randn
from gensearch.core.types import State
from gensearch.core.verbs import Transition
from gensearch.models.options import Batch, Count, Share, checked
from gensearch.models.toy.base import Guidance, Spread, Toy, wide
from gensearch.models.toy.base import undrawn as undrawn


class PosteriorMean(nn.Module):
    """E[x_0 | x_t] for x_0 ~ N(mean, std^2): the perfect denoiser of a Gaussian."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = nn.Parameter(torch.tensor(std))

    def spread(self, t: Tensor) -> Tensor:
        """The standard deviation of x_t."""
        return ((1 - t) ** 2 * self.std**2 + t**2).sqrt()

    def forward(self, x: Tensor, t: Tensor, mean: Tensor) -> Tensor:
        """Clean estimates of x [b, c, h, w] at times t [b]."""
        t = wide(t)
        return mean + (1 - t) * self.std**2 / self.spread(t) ** 2 * (x - (1 - t) * mean)


class EndPoint(PosteriorMean):
    """Where the exact ODE takes x_t: the perfect flow map, or consistency model, of a Gaussian."""

    def forward(self, x: Tensor, t: Tensor, mean: Tensor) -> Tensor:
        """End points for x [b, c, h, w] at times t [b]."""
        t = wide(t)
        return mean + self.std / self.spread(t) * (x - (1 - t) * mean)


class GaussianFlow(Toy):
    """A perfect flow model of x_0 ~ N(mean(prompt), std^2), independent pixels.

    Its steps keep every marginal exact, x_t ~ N((1 - t) mean, (1 - t)^2 std^2 + t^2), at any churn and number of
    steps. The last clean estimate is a posterior mean, so finished samples have a slightly smaller standard deviation
    than the data, which `marginal` returns.

    Args:
        noise_shape: (c, h, w) with c = 1 or 3.
        num_steps: Network steps, 1 or more.
        churn: The share of the noise that each step replaces, 0 (an ODE) to 1.
        guidance: The scale, with two forwards per step; None for one forward without guidance.
        batch_size: The largest physical batch.
        std: Of the data, above 0.
    """

    name = "toy/flow"
    network: PosteriorMean

    @checked
    def __init__(
        self,
        noise_shape: tuple[int, ...] = (1, 8, 8),
        *,
        num_steps: Count = 4,
        churn: Share = 0.0,
        guidance: Guidance = None,
        batch_size: Batch = 4,
        std: Spread = 0.8,
    ) -> None:
        super().__init__(self.make_network(std), noise_shape, num_steps, churn, guidance, batch_size)

    @staticmethod
    def make_network(std: float) -> PosteriorMean:
        """The denoiser."""
        return PosteriorMean(std)

    def condition(self, prompt: str) -> Tensor:
        """The mean sample of a prompt: random numbers seeded by its words; zero for the empty prompt."""
        return 0.5 * randn([derive("toy", prompt)], self.noise_shape)[0] if prompt else torch.zeros(self.noise_shape)

    def transition(self, state: State) -> Transition:
        """An exact step: the standardised sample, with a share of it replaced by fresh noise."""
        t, later = wide(self.times[state.step - 1]), wide(self.times[state.step])
        mean = state.extra["condition"] * (1.0 if self.guidance is None else self.guidance)
        spread = self.network.spread(later)
        kept = (1 - self.churn**2) ** 0.5 * spread / self.network.spread(t) * (state.x - (1 - t) * mean)
        return Transition((1 - later) * mean + kept, (self.churn * spread).expand_as(kept))

    def marginal(self, prompt: str) -> tuple[Tensor, float]:
        """Mean [c, h, w] and standard deviation of finished samples, in closed form."""
        mean = self.condition(prompt) * (1.0 if self.guidance is None else self.guidance)
        unit = self.network(torch.ones(1, 1, 1, 1), self.times[-1:], torch.zeros(1, 1, 1, 1)).item()
        return mean, unit * self.network.spread(self.times[-1]).item()


class GaussianTurbo(GaussianFlow):
    """The same flow distilled: every clean estimate is the end of its ODE, so samples are exact even in one step.

    Args:
        noise_shape: (c, h, w) with c = 1 or 3.
        num_steps: Network steps, 1 or more.
        options: Those of GaussianFlow.
    """

    name = "toy/turbo"

    def __init__(self, noise_shape: tuple[int, ...] = (1, 8, 8), *, num_steps: int = 1, **options: Any) -> None:
        super().__init__(noise_shape, num_steps=num_steps, **options)

    @staticmethod
    def make_network(std: float) -> PosteriorMean:
        """The flow map."""
        return EndPoint(std)


class MixturePosterior(nn.Module):
    """E[x_0 | x_t] for a mixture of Gaussians with common standard deviation."""

    def __init__(self, means: Tensor, std: float) -> None:
        super().__init__()
        self.means = nn.Parameter(means)  # [k, c, h, w]
        self.std = nn.Parameter(torch.tensor(std))

    def responsibilities(self, x: Tensor, t: Tensor, log_weights: Tensor) -> Tensor:
        """p(component | x_t) [b, k] from x [b, c, h, w], t [b] and prior log-weights [b, k]."""
        variance = (1 - t) ** 2 * self.std**2 + t**2
        gap = x[:, None] - (1 - t)[:, None, None, None, None] * self.means
        return (log_weights - gap.square().flatten(2).sum(2) / (2 * variance[:, None])).softmax(1)

    def forward(self, x: Tensor, t: Tensor, log_weights: Tensor) -> Tensor:
        """Clean estimates of x [b, c, h, w] at times t [b]."""
        s = wide(t)
        gain = (1 - s) * self.std**2 / ((1 - s) ** 2 * self.std**2 + s**2)
        belief = self.responsibilities(x, t, log_weights)
        mean = (belief[:, :, None, None, None] * self.means).sum(1)
        return mean + gain * (x - (1 - s) * mean)


class GaussianMixture(Toy):
    """A perfect denoiser of a mixture with one component per word it knows; sampled by DDIM steps.

    Words in the prompt have weight 1 and all others `leak`, so that a share of the samples ignores the prompt, as
    with real models. `shows` gives the exact posterior of the word that a finished sample shows.

    Args:
        noise_shape: (c, h, w) with c = 1 or 3.
        words: One component each.
        leak: The weight of words that are not in the prompt, 0 to 1.
        num_steps: Network steps, 1 or more.
        churn: The share of the noise that each step replaces, 0 (an ODE) to 1.
        guidance: The scale, with two forwards per step; None for one forward without guidance.
        batch_size: The largest physical batch.
        std: Of each component, above 0.
    """

    name = "toy/mixture"
    network: MixturePosterior

    @checked
    def __init__(
        self,
        noise_shape: tuple[int, ...] = (1, 8, 8),
        *,
        words: tuple[str, ...] = ("red", "green", "blue", "star", "ring"),
        leak: Share = 0.2,
        num_steps: Count = 8,
        churn: Share = 0.0,
        guidance: Guidance = None,
        batch_size: Batch = 4,
        std: Spread = 0.3,
    ) -> None:
        self.words = words
        self.leak = leak
        means = randn([derive("toy", word) for word in words], noise_shape)
        super().__init__(MixturePosterior(means, std), noise_shape, num_steps, churn, guidance, batch_size)

    def condition(self, prompt: str) -> Tensor:
        """Log-weights [k] of the components."""
        given = prompt.lower().split()
        return torch.tensor([1.0 if word in given else self.leak for word in self.words]).log().log_softmax(0)

    def transition(self, state: State) -> Transition:
        """A DDIM step: the clean estimate and its noise, part of it replaced, at the next noise level."""
        t, later = wide(self.times[state.step - 1]), wide(self.times[state.step])
        noise = (state.x - (1 - t) * state.clean) / t
        kept = later * (1 - self.churn**2) ** 0.5 * noise
        return Transition((1 - later) * state.clean + kept, (self.churn * later).expand_as(kept))

    def shows(self, sample: Tensor, prompt: str) -> Tensor:
        """p(word | sample) [b, k] for finished samples [b, c, h, w]."""
        return self.network.responsibilities(sample, torch.zeros(len(sample)), self.condition(prompt))
