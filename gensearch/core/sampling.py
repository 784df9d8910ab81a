"""From noise to media: the plain loop over a model, and its price."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gensearch.core.noise import step_noise
from gensearch.core.types import Model, Noise, Recipe, Round, State
from verifiers.types import Media, Scores, Verifier


def generate(
    model: Model, prompts: Sequence[str], noise: Noise, recipes: Sequence[Recipe], steps: Sequence[Noise] = ()
) -> Media:
    """Take every row from noise [b, *noise_shape] to media [b, ...], one physical batch after the other.

    Step noise of stochastic models is that of `steps`, as far as it goes, and then comes from the recipes.
    """
    media = []
    for first in range(0, len(prompts), model.batch_size):
        rows = slice(first, first + model.batch_size)
        state = model.start(prompts[rows], noise[rows])
        for step in range(1, model.num_steps):
            state = model.advance(state, fresh_noise(model, recipes[rows], step, [s[rows] for s in steps]))
        media.append(model.render(state))
    return torch.cat(media)


def fresh_noise(model: Model, recipes: Sequence[Recipe], step: int, steps: Sequence[Noise]) -> Noise | None:
    """The noise of one step of stochastic models, None for others."""
    if not model.stochastic:
        return None
    return steps[step - 1] if step <= len(steps) else step_noise(recipes, step, model.noise_shape)


@torch.no_grad()
def attempt(
    model: Model,
    verifier: Verifier,
    prompt: str,
    noise: Noise,
    recipes: Sequence[Recipe],
    ids: Sequence[int],
    parents: Sequence[int | None],
) -> Round:
    """Generate a picture from every row of noise [b, *noise_shape] and score it, without gradients."""
    prompts = [prompt] * len(noise)
    media = generate(model, prompts, noise, recipes)
    return Round(media, verifier(media, prompts), tuple(recipes), tuple(ids), tuple(parents))


@torch.no_grad()
def roll(model: Model, verifier: Verifier, prompt: str, noise: Noise) -> tuple[State, Media, Scores]:
    """The finished states of token models from every row of noise, their pictures and scores, without gradients."""
    prompts = [prompt] * len(noise)
    state = model.start(prompts, noise)
    for _ in range(1, model.num_steps):
        state = model.advance(state)
    media = model.render(state)
    return state, media, verifier(media, prompts)


def round_size(model: Model) -> int:
    """Samples per round: a full physical batch, and never so few that one unscorable sample empties a round."""
    return max(4, model.batch_size)


def next_round(model: Model, left: float) -> int:
    """Samples of the next round when `left` remain (perhaps infinitely many): rounds are about equal."""
    most = round_size(model)
    if left == float("inf"):
        return most
    rounds = -(-int(left) // most)
    return -(-int(left) // rounds)
