"""From noise to media: the plain loop over a model, and its price."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gensearch.core.noise import step_noise
from gensearch.core.price import decoder_batch
from gensearch.core.types import Model, Noise, Recipe, Round, Sizes, State
from verifiers.batches import cut, sizes
from verifiers.types import Media, Scores, Verifier

LEAST = 4  # samples of a round, so that one that cannot be scored does not empty it


def generate(
    model: Model, prompts: Sequence[str], noise: Noise, recipes: Sequence[Recipe], steps: Sequence[Noise] = ()
) -> Media:
    """Take every row from noise [b, *noise_shape] to media [b, ...], one physical batch after the other.

    Step noise of stochastic models is that of `steps`, as far as it goes, and then comes from the recipes.
    """
    media, first = [], 0
    for count, _ in cut(len(prompts), model.batch_size):
        rows, first = slice(first, first + count), first + count
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


def again(model: Model, prompt: str, noise: Noise, recipe: Recipe, made_in: Sizes) -> Media:
    """One sample [1, ...] as a search made it: each step in a physical batch of the size that it had there.

    Its own copies fill the batches. `made_in` are its `sizes` in a Round.
    """

    def size(step: int) -> int:
        return made_in[min(step, len(made_in) - 1)]

    def filled(state: State, step: int) -> State:
        return state[[0] * size(step)]

    state = model.start([prompt] * size(0), noise.expand(size(0), *noise.shape[1:]))
    for step in range(1, model.num_steps):
        fresh = fresh_noise(model, [recipe] * size(step), step, ())
        state = model.advance(filled(state, step), fresh)
    return model.render(filled(state, model.num_steps))[:1]


def sizes_of(state: State, decoding: Sequence[int]) -> tuple[Sizes, ...]:
    """The physical batch sizes behind each row of a state that is decoded in batches of some sizes."""
    if "sizes" not in state.extra:  # of a model whose passes go through no ledger
        return ()
    steps = [taken[:step] for taken, step in zip(state.extra["sizes"].tolist(), state.step.tolist(), strict=True)]
    return tuple(joined((*taken, last)) for taken, last in zip(steps, decoding, strict=True))


def sizes_behind(model: Model, round: Round) -> tuple[Sizes, ...]:
    """The physical batch sizes behind each sample of a round; all of them went together where it does not say."""
    if round.sizes:
        return round.sizes
    rows = len(round.ids)
    pairs = zip(sizes(rows, model.batch_size), sizes(rows, decoder_batch(model)), strict=True)
    return tuple(joined((size,) * model.num_steps + (last,)) for size, last in pairs)


def joined(made_in: Sizes) -> Sizes:
    """Sizes with equal ones said once."""
    return made_in[:1] if len(set(made_in)) == 1 else made_in


def round_size(model: Model) -> int:
    """Samples per round: a full physical batch, and never so few that one unscorable sample empties a round."""
    return max(LEAST, 1 << (model.batch_size.bit_length() - 1))


def next_round(model: Model, left: float) -> int:
    """Samples of the next round when `left` remain (perhaps infinitely many): full batches, and no last one of one."""
    most = round_size(model)
    if left <= most:
        return int(left)
    return most // 2 if left == most + 1 else most
