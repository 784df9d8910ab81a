"""Is it learning? Numbers about a noise network on prompts that it is not trained on, always the same ones."""

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
from hypernoise.objective import divergence
from verifiers.types import Media, Verifier

SPOT = 8  # rows for the second-order divergence, which differentiates twice


class Panel(NamedTuple):
    """What a look found; means over prompts and noises."""

    reward: float  # with f
    gain: float  # over the same noises without f
    error: float  # standard error of the gain, over prompts
    swap: float  # what is lost when f reads another prompt: near the gain if f listens, near 0 if it does not
    rms: float  # of f, per element
    nats: float  # |f|^2 / 2
    nats2: float  # the same with the second-order correction, on some rows
    diversity: float  # distance between pictures of one prompt, as a share of what it is without f
    saturation: float  # share of values at 0 or 1, which pass no gradient


@dataclass
class Watch:
    """Fixed prompts and noises, and what the generator makes of them by itself."""

    model: Model
    verifier: Verifier
    prompts: Sequence[str]
    seeds: int  # noises for each prompt
    root: int = 0

    def __post_init__(self) -> None:
        self.texts = [prompt for prompt in self.prompts for _ in range(self.seeds)]
        numbers = [derive(self.root, "watch", text, i % self.seeds) for i, text in enumerate(self.texts)]
        self.recipes: list[Recipe] = [(("gaussian", number),) for number in numbers]
        self.noise = randn(numbers, self.model.noise_shape)

    @cached_property
    def plain(self) -> tuple[Media, Tensor]:
        """Pictures and rewards without f."""
        return self.judged(self.noise)

    @torch.no_grad()
    def look(self, proposal: HyperNoise) -> Panel:
        """One look: two passes of f and of the generator for every prompt and noise."""
        texts = [proposal.manifest.template.replace("{prompt}", text) for text in self.texts]
        f = self.moved(proposal, texts)
        media, reward = self.judged(self.noise + f)
        away = self.seeds * max(1, len(self.prompts) // 2)  # neighbours in a list of prompts tend to be alike
        _, swapped = self.judged(self.noise + self.moved(proposal, texts[away:] + texts[:away]))
        base, before = self.plain
        gain = self.by_prompt(reward - before)
        return Panel(
            reward=float(reward.mean()),
            gain=float(gain.mean()),
            error=float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else float("nan"),
            swap=float((reward - swapped).mean()),
            rms=float(f.square().mean().sqrt()),
            nats=float(shift_nats(f).mean()),
            nats2=self.second_order(proposal, texts[:SPOT]),
            diversity=float(self.spread(media) / self.spread(base)),
            saturation=float(((media <= 0) | (media >= 1)).float().mean()),
        )

    def moved(self, proposal: HyperNoise, texts: Sequence[str]) -> Noise:
        """f of every noise, reading some texts."""
        conditions = lookable(self.model).conditions(texts)
        pieces = zip(*(t.split(self.model.batch_size) for t in (self.noise, *conditions)), strict=True)
        return torch.cat([proposal.network(x.to(c[0].device), *c).to(x) for x, *c in pieces])

    def judged(self, noise: Noise) -> tuple[Media, Tensor]:
        """Pictures of some noise and their rewards [b]; unscored ones count as NaN."""
        with torch.no_grad():
            media = generate(self.model, self.texts, noise, self.recipes)
            return media, self.verifier(media, self.texts).total.cpu()

    def second_order(self, proposal: HyperNoise, texts: Sequence[str]) -> float:
        """Mean nats of a few rows to second order."""
        conditions = lookable(self.model).conditions(texts)
        noise = self.noise[: len(texts)].to(conditions[0].device)
        seeds = [derive(self.root, "probe", row) for row in range(len(texts))]
        _, nats = divergence(lambda x: proposal.network(x, *conditions), noise, order=2, seeds=seeds)
        return float(nats.detach().mean())

    def by_prompt(self, values: Tensor) -> Tensor:
        """Means over the noises of each prompt."""
        return values.view(len(self.prompts), self.seeds).mean(1)

    def spread(self, media: Media) -> Tensor:
        """Root mean square distance between two pictures of one prompt."""
        return media.reshape(len(self.prompts), self.seeds, -1).var(1).mean().mul(2).sqrt()
