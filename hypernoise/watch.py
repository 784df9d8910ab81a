"""Validation during training: metrics of a noise network on fixed prompts and noises that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from gensearch.core.divergence import shift_nats
from gensearch.core.noise import derive, randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model, Noise, Recipe
from hypernoise.artefact import HyperNoise
from hypernoise.form import lookable
from hypernoise.objective import divergence, unrolled
from verifiers.adapt import as_verifier, ask
from verifiers.types import Media, Verifier

SECOND_ORDER_ROWS = 8  # rows of the second-order divergence, which differentiates twice


class Panel(NamedTuple):
    """The metrics of one validation, means over prompts and noises.

    Attributes:
        reward: with the shift f.
        gain: of the reward over the same noises without f.
        error: standard error of the gain over prompts.
        swap: reward lost when f is conditioned on another prompt: about the gain if f depends on the prompt, else 0.
        rms: root mean square of f per element.
        nats: KL divergence from the base model to first order, |f|^2 / 2, in nats.
        nats2: the same with the second-order correction, on some rows.
        diversity: distance between pictures of one prompt, divided by the distance without f.
        saturation: share of pixel values at 0 or 1, which pass no gradient, in [0, 1].
    """

    reward: float
    gain: float
    error: float
    swap: float
    rms: float
    nats: float
    nats2: float
    diversity: float
    saturation: float


@dataclass
class Watch:
    """Fixed prompts and noises, and the pictures of the generator without a hypernetwork.

    Attributes:
        model: the generator.
        verifier: the reward; a function of (media, prompts) will do.
        prompts: for validation.
        seeds: noises for each prompt, at least 2.
        root: the seed that the noises are derived from.
    """

    model: Model
    verifier: Verifier
    prompts: Sequence[str]
    seeds: int
    root: int = 0

    def __post_init__(self) -> None:
        self.verifier = as_verifier(self.verifier)
        self.texts = [prompt for prompt in self.prompts for _ in range(self.seeds)]
        numbers = [derive(self.root, "watch", text, i % self.seeds) for i, text in enumerate(self.texts)]
        self.recipes: list[Recipe] = [(("gaussian", number),) for number in numbers]
        self.noise = randn(numbers, self.model.noise_shape)

    @cached_property
    def plain(self) -> tuple[Media, Tensor]:
        """Pictures and rewards without f."""
        return self.scored(self.noise)

    @torch.no_grad()
    def measure(self, proposal: HyperNoise) -> Panel:
        """Return the metrics of a hypernetwork, for two passes of f and of the generator on every noise.

        Args:
            proposal: a hypernetwork for the generator.
        """
        texts = [proposal.manifest.template.replace("{prompt}", text) for text in self.texts]
        f = self.shift(proposal, texts)
        media, reward = self.scored(self.noise + f)
        away = self.seeds * max(1, len(self.prompts) // 2)  # neighbours in a list of prompts tend to be similar
        _, swapped = self.scored(self.noise + self.shift(proposal, texts[away:] + texts[:away]))
        base, before = self.plain
        gain = self.by_prompt(reward - before)
        return Panel(
            reward=float(reward.mean()),
            gain=float(gain.mean()),
            error=float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else float("nan"),
            swap=float((reward - swapped).mean()),
            rms=float(f.square().mean().sqrt()),
            nats=float(shift_nats(f).mean()),
            nats2=self.second_order(proposal, texts[:SECOND_ORDER_ROWS]),
            diversity=float(self.spread(media) / self.spread(base)),
            saturation=float(((media <= 0) | (media >= 1)).float().mean()),
        )

    def shift(self, proposal: HyperNoise, texts: Sequence[str]) -> Noise:
        """Return f of every noise, [b, *noise_shape].

        Args:
            proposal: a hypernetwork for the generator.
            texts: one condition per noise.
        """
        conditions = lookable(self.model).conditions(texts)
        pieces = zip(*(t.split(self.model.batch_size) for t in (self.noise, *conditions)), strict=True)

        def moved(x: Noise, c: Sequence[Tensor]) -> Noise:
            return unrolled(lambda y: proposal.network(y, *c), proposal.passes)(x.to(c[0].device)).to(x)

        return torch.cat([moved(x, c) for x, *c in pieces])

    def scored(self, noise: Noise) -> tuple[Media, Tensor]:
        """Return pictures and their rewards [b], NaN where unscored.

        Args:
            noise: one per prompt and seed, [b, *noise_shape].
        """
        with torch.no_grad():
            media = generate(self.model, self.texts, noise, self.recipes)
            return media, ask(self.verifier, media, self.texts).total.cpu()

    def second_order(self, proposal: HyperNoise, texts: Sequence[str]) -> float:
        """Return the mean KL divergence of the first rows to second order, in nats.

        Args:
            proposal: a hypernetwork for the generator.
            texts: conditions of those rows.
        """
        conditions = lookable(self.model).conditions(texts)
        noise = self.noise[: len(texts)].to(conditions[0].device)
        seeds = [derive(self.root, "probe", row) for row in range(len(texts))]
        f = unrolled(lambda x: proposal.network(x, *conditions), proposal.passes)
        _, nats = divergence(f, noise, order=2, seeds=seeds)
        return float(nats.detach().mean())

    def by_prompt(self, values: Tensor) -> Tensor:
        """Return the mean over the noises of each prompt, [prompts].

        Args:
            values: one per prompt and seed, [b].
        """
        return values.view(len(self.prompts), self.seeds).mean(1)

    def spread(self, media: Media) -> Tensor:
        """Return the root mean square distance between two pictures of one prompt, a scalar tensor.

        Args:
            media: one picture per prompt and seed, [b, ...].
        """
        return media.reshape(len(self.prompts), self.seeds, -1).var(1).mean().mul(2).sqrt()
