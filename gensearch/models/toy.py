"""Generators whose every distribution is known in closed form: a linear Gaussian and a mixture tied to words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gensearch.noise import derive, randn
from gensearch.types import Noise, State, Transition
from verifiers.types import Media


class _Toy:
    """What both toys share: a linear path x_t = (1 - t) x_0 + t e, guidance, physical batches, a picture.

    Samples [c, h, w] with c = 1 or 3 are shown through a sigmoid. `churn` in [0, 1] is the share of fresh noise per
    step; 0 makes the model an ODE.
    """

    verbs = frozenset({"rewind", "transition"})
    nfe_per_step = 2

    def __init__(
        self,
        noise_shape: tuple[int, int, int] = (1, 8, 8),
        *,
        num_steps: int = 4,
        churn: float = 0.0,
        guidance: float = 1.0,
        batch_size: int = 4,
    ) -> None:
        self.noise_shape = noise_shape
        self.num_steps = num_steps
        self.churn = churn
        self.guidance = guidance
        self.batch_size = batch_size
        self.decoder: nn.Module = nn.Sigmoid()

    @property
    def stochastic(self) -> bool:
        """Whether steps read their noise."""
        return self.churn > 0
