"""From noise to media: the plain loop over a model, and its price."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch

from gensearch.core.ledger import Cost
from gensearch.core.noise import gaussian, step_noise
from gensearch.core.types import Model, Noise, Proposal, Recipe, Round, State
from verifiers.combine import leaves
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


def require_tokens(model: Model, search: str, words: bool = False) -> None:
    """Raise ValueError for a model without tokens, and for one without those of a picture unless `words` are enough."""
    if "tokens" not in model.verbs:
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has none; take a Janus, or best_of_n"
        )
    if not words and not model.image_length:  # type: ignore[attr-defined]
        raise ValueError(
            f"{search} moves the tokens of a picture, and {model.name} has words only; "
            "take milr with strategy=text, or best_of_n"
        )


def price(model: Model, *verifiers: Verifier, propose: Proposal = gaussian) -> Cost:
    """What one sample of proposed noise costs, asked of each single judge of some verifiers, or of one by default.

    For token models, whose plans end when they like, at most so much.
    """
    scored = sum(map(looks, verifiers)) if verifiers else 1
    steps = reduce(Cost.plus, step_costs(model))
    return steps.plus(Cost(decoded=1, scored=scored)).plus(fee(propose))


def looks(verifier: Verifier) -> int:
    """Scores that one finished sample takes: of each single judge, and for a guide also of those that select."""
    return getattr(verifier, "looks", None) or len(leaves(verifier))


def step_costs(model: Model) -> Sequence[Cost]:
    """At most what one sample costs in each step: the same for all of them, but for token models."""
    return getattr(model, "step_costs", (Cost(nfe=model.nfe_per_step),) * model.num_steps)


def fee(propose: Proposal) -> Cost:
    """What a proposal takes for one sample: its `cost`, and nothing if it has none."""
    return getattr(propose, "cost", Cost())


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
