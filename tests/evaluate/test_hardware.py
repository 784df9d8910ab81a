"""Operations against the closed forms of small networks, and hours against arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gensearch.core.types import State
from gensearch.evaluate.hardware import PEAK, count, hours, peak
from verifiers.types import Scores


class Net:
    """Two steps of a convolution and one attention; a decoder by a linear layer."""

    name, noise_shape, num_steps, nfe_per_step, batch_size = "net", (4, 8, 8), 2, 1, 3
    stochastic = False
    verbs: frozenset[str] = frozenset()

    def __init__(self):
        self.conv, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def step(self, x):
        x = self.conv(x)
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        return x + nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].transpose(1, 2).view_as(x)

    def start(self, prompts, noise):
        x = self.step(noise)
        return State(tuple(prompts), torch.ones(len(prompts), dtype=torch.long), 2, x, x, {})

    def advance(self, state, noise=None):
        x = self.step(state.x)
        return State(state.prompts, state.step + 1, 2, x, x, {})

    def fingerprint(self):
        return {}

    def render(self, state):
        return self.out(state.clean.movedim(1, -1)).movedim(-1, 1).sigmoid()


class Linear:
    name, differentiable = "linear", False

    def __init__(self):
        self.layer = nn.Linear(192, 10)

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(self.layer(media.flatten(1)).mean(1))


def test_operations_of_a_sample_and_a_score():
    convolution, attention = 2 * 64 * 4 * 4 * 9, 2 * (2 * 64 * 64 * 4)
    found = count(Net(), [Linear(), Linear()], "any")
    assert found.sample == 2 * (convolution + attention) + 2 * 64 * 4 * 3
    assert found.score == 2 * 192 * 10
    assert found.size == 3 * 8 * 8
    assert count(Net(), [], "any").score == 0


def test_hours():
    assert hours(312e12 * 3600, "a100", 1.0) == pytest.approx(1)
    assert hours(312e12 * 3600, "A100", 0.5) == pytest.approx(2)
    assert hours(1e15, "4090") > hours(1e15, "h200")
    assert peak("h200") == 989.5e12


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="the share of the peak is .*above 0 and at most 1"):
        hours(1.0, "h200", share)


def test_an_unknown_gpu_names_those_that_are_known():
    with pytest.raises(ValueError, match="no peak is known for the GPU 'h20'.*" + ", ".join(PEAK)):
        peak("h20")
