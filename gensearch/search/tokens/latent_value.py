"""Latent value: begin several pictures for each that is finished, and let their first states decide which."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, gaussian
from gensearch.core.price import fee, price, step_costs
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import next_round, roll
from gensearch.core.types import Model, Proposal, Round
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
    """Prune by a value model before anything is rendered or scored (LatentTTS, arXiv:2510.07745).

    `n` pictures (None: as many as the ledger pays), the first of them plain. For each other one `branches` are begun
    to the end of block number `blocks`, and that of which `value` expects most is finished. `value` is a file, or
    None for the one in the model's folder. Raises ValueError for models without tokens, without a value model and with
    too few blocks.
    """
    require_tokens(model, "latent_value")
    if blocks >= model.num_steps:
        raise ValueError(f"{model.name} draws a picture in {model.num_steps} blocks and can prune before the last only")
    tokens: Any = model
    expects = value if isinstance(value, Value) else find(model, value)
    unit, seeds = price(model, verifier, propose=propose), rng.seeds(1)
    noise = propose(model, [prompt], seeds)
    _, media, scores = roll(model, verifier, prompt, noise)
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
            depth = int((state.clean[0, tokens.text_length :] >= 0).sum())
            worth = expects(tokens.trace(state).image_states[:, :depth].cpu()).unflatten(0, (size, branches))
            kept = [place * branches + best for place, best in enumerate(worth.argmax(1).tolist())]
            state = state[kept]
            for _ in range(blocks, model.num_steps):
                state = model.advance(state)
            media = model.render(state)
            scores = verifier(media, [prompt] * size)
        yield Round(media, scores, tuple(recipes[i] for i in kept), tuple(range(drawn, drawn + size)), (None,) * size)
        drawn += size


def find(model: Any, source: str | None) -> Value:
    """The value model in a file, or in the folder that a model came from."""
    folder = getattr(getattr(model, "pipeline", None), "name_or_path", "")
    path = Path(source) if source else Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"{model.name} has no value model at {path}; fit one with configs/shapes/value.yaml")
    return Value.load(path)
