"""Samples for the laws of models, and comparisons of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from gensearch.core.noise import randn, step_noise
from gensearch.core.sampling import generate
from gensearch.core.types import Model, Noise, Recipe, State
from verifiers.types import Media

SEEDS = (11, 12, 13, 14, 15, 16, 17)
CLOSE = 1e-4  # of pixels between batches of different sizes
PROMPTS = ("a photo of a red star", "a photo of two blue rings", "a photo of a red star")


def rows(prompts: Sequence[str] = PROMPTS) -> list[str]:
    """One prompt per seed."""
    return [prompts[i % len(prompts)] for i in range(len(SEEDS))]


def recipes(seeds: Sequence[int]) -> list[Recipe]:
    """Plain recipes."""
    return [(("gaussian", seed),) for seed in seeds]


@torch.no_grad()
def plain(model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Media:
    """Media of the plain sampling loop.

    Args:
        model: The model under test.
        prompts: b of them.
        seeds: b of them.
    """
    return generate(model, prompts, randn(seeds, model.noise_shape), recipes(seeds))


def fresh(model: Model, seeds: Sequence[int], step: int) -> Noise:
    """Step noise [b, *noise_shape].

    Args:
        model: The model under test.
        seeds: b of them.
        step: From 1.
    """
    return step_noise(recipes(seeds), step, model.noise_shape)


def together(model: Model) -> tuple[int, ...]:
    """Seeds of as many samples as one `start` takes: a physical batch, or any number with the verb "branch"."""
    return SEEDS if "branch" in model.verbs else SEEDS[: model.batch_size]


@torch.no_grad()
def started(model: Model, seeds: Sequence[int] | None = None) -> State:
    """Samples after their first step."""
    seeds = together(model) if seeds is None else seeds
    return model.start(rows()[: len(seeds)], randn(seeds, model.noise_shape))


def needs(model: Model, *verbs: str, steps: int = 1) -> None:
    """Skip a law about verbs that a model does not offer, or about more steps than it takes.

    Args:
        model: The model under test.
        verbs: All of which are needed.
        steps: That are needed.
    """
    for verb in verbs:
        if verb not in model.verbs:
            pytest.skip(f"the model does not offer {verb}")
    if model.num_steps < steps:
        pytest.skip(f"the model takes {model.num_steps} steps; this is about {steps} or more")


def assert_same(one: State, other: State, close: float = 0.0) -> None:
    """Two states hold the same bits.

    Args:
        one: A state.
        other: Another.
        close: By how much floats in `extra` may differ, absolute and relative.
    """
    assert one.prompts == other.prompts
    assert torch.equal(one.step, other.step)
    assert torch.equal(one.x, other.x), "noisy samples differ"
    assert torch.equal(one.clean, other.clean), "clean estimates differ"
    assert all(alike(value, other.extra[name], close) for name, value in one.extra.items()), "extra values differ"


def alike(one: Any, other: Any, close: float = 0.0) -> bool:
    """Whether tensors or rows hold the same bits, or tensors differ by at most `close`."""
    if close and isinstance(one, Tensor) and one.is_floating_point():
        return torch.allclose(one, other, rtol=close, atol=close)
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def rounding(model: Model) -> float:
    """By how much hidden states may depend on a sample's place in its batch: 0 for most models.

    With several threads torch's CPU attention of a single query (FlashAttention) gives the rows of each thread a buffer
    of another memory alignment, and the matrix product rounds by alignment. Autoregressive models decode that way.
    """
    return CLOSE if "tokens" in model.verbs and torch.get_num_threads() > 1 else 0.0


def physical_sizes(model: Model) -> list[int]:
    """Sizes of physical batches up to four."""
    return [size for size in (1, 2, 4) if size <= model.batch_size]


def companies(size: int) -> list[list[int]]:
    """Batches of some size in which samples have other neighbours and other places."""
    turned = [*range(size)][::-1]
    return [turned, [*turned[:-1], len(SEEDS) - 1], [0] * size]
