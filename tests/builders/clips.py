"""Toy clips whose decoder is counted, and a continuous verifier of their newest frame."""

from __future__ import annotations

import torch

from gensearch.models.toy.chunks import ToyChunks
from verifiers.types import Scores


class Shown(ToyChunks):
    """The same clips, whose decoder is asked once per clip that is shown, as the laws count."""

    def render(self, state):
        self.decoder(state.x)
        quiet, self.decoder = self.decoder, torch.nn.Identity()
        try:
            return super().render(state)
        finally:
            self.decoder = quiet


class LastPixels:
    """A continuous verifier of the newest frame."""

    name = "pixels"
    differentiable = False

    def __call__(self, media, prompts, *, progress=1.0):
        total = media[:, -1, 2, 0, 0].double() + media[:, 0, 2, 1, 1]
        return Scores(total, {self.name: total})
