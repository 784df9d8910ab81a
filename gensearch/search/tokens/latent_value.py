"""Latent value: start several pictures for each that is finished, and let a value model choose among them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import cast

import torch
from pydantic import PositiveInt
from torch import Tensor

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, gaussian
from gensearch.core.price import fee, price, step_costs
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import next_round, roll
from gensearch.core.types import Model, Proposal, Round, State
from gensearch.core.verbs import TokenModel
from gensearch.search.knobs import Count
from gensearch.search.tokens.value import FILE, Value
from verifiers.types import Verifier


def latent_value(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: Count = None,
    branches: PositiveInt = 4,
    blocks: PositiveInt = 1,
    value: Value | str | None = None,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Start several pictures, and finish the one from which a value model expects most.

    Source: LatentTTS, Wang et al. 2025, arXiv:2510.07745, with pictures in the place of chains of thought.

    Pictures are pruned before anything is rendered or scored. The first picture is a plain one.

    Args:
        n: number of finished pictures; integer above 0 (default None: as many as the budget allows)
        branches: pictures that are started for each one after the first; integer above 0 (default 4)
        blocks: blocks of tokens that the value model is given; integer above 0 (default 1)
        value: value model, or its file; Value or text (default None: the file in the model's folder)
        propose: makes the noise of every started picture (default gaussian)

    Raises:
        ValueError: the model draws no image tokens, has no more than `blocks` blocks, or there is no value model.
    """
    require_tokens(model, "latent_value")
    if blocks >= model.num_steps:
        raise ValueError(f"{model.name} draws a picture in {model.num_steps} blocks and can prune before the last only")
    tokens = cast(TokenModel, model)
    expects = value if isinstance(value, Value) else find(model, value)
    unit, seeds = price(model, verifier, propose=propose), rng.seeds(1)
    noise = propose(model, [prompt], seeds)
    state, media, scores = roll(model, verifier, prompt, noise)
    expects.check(tokens.trace(state).image_states)  # before more is spent
    yield Round(media, scores, described(propose, noise, seeds), (0,), (None,))
    begun = reduce(Cost.plus, [fee(propose), *step_costs(model)[:blocks]])
    each, drawn = unit.plus(begun.times(branches - 1)), 1
    while left := min((n or float("inf")) - drawn, ledger.affords(each)):
        size = next_round(model, left)
        seeds = rng.seeds(size * branches)
        noise = propose(model, [prompt] * len(seeds), seeds)
        recipes = described(propose, noise, seeds)
        with torch.no_grad():
            state = model.start([prompt] * len(seeds), noise)
            for _ in range(1, blocks):
                state = model.advance(state)
            kept = best_branches(tokens, expects, state, branches)
            state = state[kept]
            for _ in range(blocks, model.num_steps):
                state = model.advance(state)
            media = model.render(state)
            scores = verifier(media, [prompt] * size)
        yield Round(media, scores, tuple(recipes[i] for i in kept), tuple(range(drawn, drawn + size)), (None,) * size)
        drawn += size


def best_branches(model: TokenModel, expects: Value, state: State, branches: int) -> list[int]:
    """Of each `branches` rows of a state, the one from which the value model expects most."""
    depth = int((state.clean[0, model.text_length :] >= 0).sum())  # image tokens so far
    values: Tensor = expects(model.trace(state).image_states[:, :depth].cpu())
    best = values.view(-1, branches).argmax(1).tolist()
    return [place * branches + row for place, row in enumerate(best)]


def find(model: Model, source: str | None) -> Value:
    """The value model in a file, or in the folder that a model came from."""
    folder = getattr(getattr(model, "pipeline", None), "name_or_path", "")
    path = Path(source) if source else Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"{model.name} has no value model at {path}; fit one with configs/shapes/value.yaml")
    return Value.load(path)
