"""From noise to media: the plain sampling loop over a model, and the physical batches that samples go through."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gensearch.core.noise import prompt_of, step_noise
from gensearch.core.price import decoder_batch
from gensearch.core.types import Model, Noise, Recipe, Round, Sizes, State
from verifiers.batches import pieces, sizes
from verifiers.types import Media, Scores, Verifier

LEAST = 4  # samples of a round, so that a single unscorable sample does not leave it empty


def generate(
    model: Model, prompts: Sequence[str], noise: Noise, recipes: Sequence[Recipe], steps: Sequence[Noise] = ()
) -> Media:
    """Generate every row, one physical batch after the other.

    Args:
        model: The generator.
        prompts: b of them.
        noise: [b, *noise_shape], standard normal.
        recipes: b of them, from which stochastic models take step noise.
        steps: Step noise [b, *noise_shape] of the first steps, instead of that of the recipes.

    Returns:
        Media [b, 3, h, w] or [b, t, 3, h, w] in [0, 1].
    """
    media = []
    for rows, _, _ in pieces(len(prompts), model.batch_size):
        state = model.start(prompts[rows], noise[rows])
        for step in range(1, model.num_steps):
            state = model.advance(state, fresh_noise(model, recipes[rows], step, [s[rows] for s in steps]))
        media.append(model.render(state))
    return torch.cat(media)


def fresh_noise(model: Model, recipes: Sequence[Recipe], step: int, steps: Sequence[Noise]) -> Noise | None:
    """The noise [b, *noise_shape] of one step; None for models that are not stochastic.

    Args:
        model: The generator.
        recipes: b of them.
        step: From 1.
        steps: Noise of the first steps that replaces that of the recipes.
    """
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
    """Generate a sample from every row of noise and score it against the prompt, without gradients.

    Args:
        model: The generator.
        verifier: The guide.
        prompt: The same for all rows; a recipe may name another one to generate from.
        noise: [b, *noise_shape].
        recipes: That reproduce the noise, b of them.
        ids: Of the new samples, b of them.
        parents: The sample that each was derived from, or None.
    """
    media = generate(model, [prompt_of(recipe, prompt) for recipe in recipes], noise, recipes)
    scores = verifier(media, [prompt] * len(noise))
    return Round(media, scores, tuple(recipes), tuple(ids), tuple(parents))


@torch.no_grad()
def roll(model: Model, verifier: Verifier, prompt: str, noise: Noise) -> tuple[State, Media, Scores]:
    """Finished states of an autoregressive image model, their pictures and their scores, without gradients.

    Args:
        model: An autoregressive image model.
        verifier: The guide.
        prompt: The same for all rows.
        noise: [b, positions].
    """
    prompts = [prompt] * len(noise)
    state = model.start(prompts, noise)
    for _ in range(1, model.num_steps):
        state = model.advance(state)
    media = model.render(state)
    return state, media, verifier(media, prompts)


def again(model: Model, prompt: str, noise: Noise, recipe: Recipe, made_in: Sizes) -> Media:
    """One sample [1, ...] again, bit for bit: each step in a physical batch of the size that it had in its search.

    Copies of the sample fill the batches.

    Args:
        model: The generator.
        prompt: Of its search; its recipe may name another one that it was generated from.
        noise: [1, *noise_shape].
        recipe: Of the sample.
        made_in: Its `sizes` in a Round.
    """

    def size(step: int) -> int:
        return made_in[min(step, len(made_in) - 1)]

    def filled(state: State, step: int) -> State:
        return state[[0] * size(step)]

    state = model.start([prompt_of(recipe, prompt)] * size(0), noise.expand(size(0), *noise.shape[1:]))
    for step in range(1, model.num_steps):
        fresh = fresh_noise(model, [recipe] * size(step), step, ())
        state = model.advance(filled(state, step), fresh)
    return model.render(filled(state, model.num_steps))[:1]


def sizes_of(state: State, decoding: Sequence[int]) -> tuple[Sizes, ...]:
    """The physical batch sizes behind each row of a state; () if they were not recorded.

    Args:
        state: b rows.
        decoding: The size of the batch in which each row is decoded, b of them.
    """
    if "sizes" not in state.extra:  # a model that is not metered
        return ()
    steps = [taken[:step] for taken, step in zip(state.extra["sizes"].tolist(), state.step.tolist(), strict=True)]
    return tuple(joined((*taken, last)) for taken, last in zip(steps, decoding, strict=True))


def sizes_behind(model: Model, round: Round) -> tuple[Sizes, ...]:
    """The physical batch sizes behind each sample of a round; without a record, all samples went through together.

    Args:
        model: The generator.
        round: What a search yielded.
    """
    if round.sizes:
        return round.sizes
    rows = len(round.ids)
    pairs = zip(sizes(rows, model.batch_size), sizes(rows, decoder_batch(model)), strict=True)
    return tuple(joined((size,) * model.num_steps + (last,)) for size, last in pairs)


def joined(made_in: Sizes) -> Sizes:
    """Sizes, shortened to one entry if all are equal."""
    return made_in[:1] if len(set(made_in)) == 1 else made_in


def round_size(model: Model) -> int:
    """Samples per round: the largest power of two that fits a physical batch, and at least 4."""
    return max(LEAST, 1 << (model.batch_size.bit_length() - 1))


def next_round(model: Model, left: float) -> int:
    """Samples of the next round: full batches, arranged so that the last round does not hold a single sample.

    Args:
        model: The generator.
        left: Samples that remain, perhaps infinitely many.
    """
    most = round_size(model)
    if left <= most:
        return int(left)
    return most // 2 if left == most + 1 else most
