"""A value model: predicts the reward of a picture from the states behind its first image tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gensearch.files.atomic import write_atomic

FILE = "value.safetensors"  # beside the weights of the model whose states it reads
HIDDEN = 64
TEMPERATURE = 0.2  # of the softmax over the rewards of a group


class Group(NamedTuple):
    """Finished pictures of one prompt."""

    states: Tensor  # [s, n, rows, width], behind their image tokens
    rewards: Tensor  # [s]


class Value(nn.Module):
    """A small network on the last and the mean of the states so far, and on the share of tokens that they cover.

    It ranks pictures of one prompt; its values cannot be compared between prompts (LatentRM of Wang et al. 2025,
    arXiv:2510.07745, with pictures in the place of chains of thought).
    """

    def __init__(self, width: int, length: int, hidden: int = HIDDEN) -> None:
        """For states of `width` behind pictures of `length` tokens."""
        super().__init__()
        self.width, self.length, self.hidden = width, length, hidden
        self.layers = nn.Sequential(
            nn.LayerNorm(2 * width + 1), nn.Linear(2 * width + 1, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )

    def forward(self, states: Tensor) -> Tensor:
        """Values [b] of states [b, k, rows, width] behind the first k tokens; with guidance, of the conditional row.

        Raises ValueError for states of another model.
        """
        self.check(states)
        own = states[:, :, 0].float()
        share = own.new_full((len(own), 1), own.shape[1] / self.length)
        values: Tensor = self.layers(torch.cat([own[:, -1], own.mean(1), share], 1))
        return values.squeeze(1)

    def check(self, states: Tensor) -> None:
        """Raise ValueError for states of another model."""
        if states.shape[-1] != self.width:
            raise ValueError(f"the value model reads states of width {self.width}, not {states.shape[-1]}; fit another")

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole."""
        about = {"width": self.width, "length": self.length, "hidden": self.hidden}
        write_atomic(path, save(self.state_dict(), {"value": json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> Value:
        """Read what `save` wrote; raises ValueError for anything else."""
        try:
            with safe_open(path, "pt") as file:
                made = cls(**json.loads((file.metadata() or {})["value"]))
                made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} holds no value model ({type(error).__name__}); fit one with configs/shapes/value.yaml"
            ) from error
        return made.eval().requires_grad_(False)


def ranking_loss(values: Tensor, rewards: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy between softmax(rewards / temperature) and softmax(values), both over one group [s]."""
    return -((rewards / temperature).softmax(0) * values.log_softmax(0)).sum()


def fit(value: Value, groups: Sequence[Group], *, epochs: int, lr: float, seed: int = 0) -> None:
    """Fit in place, every group at a random depth each time; groups whose rewards are all equal are left out."""
    uneven = [group for group in groups if float(group.rewards.max() - group.rewards.min()) > 0]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(value.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * len(uneven)))
    with torch.enable_grad():
        for _ in range(epochs):
            for place in torch.randperm(len(uneven), generator=generator).tolist():
                group = uneven[place]
                depth = int(torch.randint(1, group.states.shape[1] + 1, (), generator=generator))
                loss = ranking_loss(value(group.states[:, :depth]), group.rewards)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()


@torch.no_grad()
def accuracy(value: Value, groups: Sequence[Group], depth: int) -> float:
    """The share of pairs in one group and of unequal rewards that values at a depth order rightly; 0.5 is chance."""
    right = pairs = 0.0
    for group in groups:
        values = value(group.states[:, :depth])
        better = group.rewards[:, None] > group.rewards
        above = (values[:, None] > values).double() + 0.5 * (values[:, None] == values)
        right, pairs = right + float((above * better).sum()), pairs + float(better.sum())
    return right / pairs if pairs else float("nan")
