"""Smooth rewards with gradients, for searches that follow them."""

from __future__ import annotations

import torch

from gensearch.core.noise import randn
from gensearch.testing.verifiers import LinearScore
from verifiers.types import Scores

STAR = "a star"


class Brightness:
    """A smooth reward that is not linear, with one part."""

    name = "brightness"
    differentiable = True

    def __call__(self, media, prompts, *, progress=1.0):
        total = (media.flatten(1) * torch.linspace(-1, 1, media[0].numel())).tanh().sum(1)
        return Scores(total, {"part": media.flatten(1).mean(1)})


def blind(seed: int) -> LinearScore:
    """Differentiable, and independent of what the true verifier of the laws scores."""
    return LinearScore(randn([1000 + seed], (1, 4, 4))[0])
