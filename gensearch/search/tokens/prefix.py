"""Prefix search: prune pictures while only their first rows are drawn, and branch the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt

from gensearch.core.gumbel import given
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian, randn
from gensearch.core.price import price
from gensearch.core.requires import require_tokens
from gensearch.core.types import Model, Proposal, Recipe, Round, State
from gensearch.search.knobs import Count
from verifiers.types import Verifier


@torch.no_grad()
def judged(
    model: Model,
    verifier: Verifier,
    prompt: str,
    state: State,
    recipes: list[Recipe],
    ids: range,
    parents: list[int | None],
) -> Round:
    """A round of the pictures of a state, drawn or half drawn."""
    media, step = model.render(state), int(state.step[0])
    scores = verifier(media, [prompt] * len(state), progress=step / model.num_steps)
    return Round(media, scores, tuple(recipes), tuple(ids), tuple(parents), done=step == model.num_steps)


def prefix(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    width: Count = None,
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5,
    prunings: PositiveInt = 2,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Judge `width` half-drawn pictures, and replace the worst of them by branches of the others.

    After each of the first `prunings` blocks the best `keep` of them stay; copies of these, with chance of their own
    from there on, take the others' places (GridAR, arXiv:2511.21185; PARM, arXiv:2501.13926). The verifier sees undrawn
    parts as background, and `progress`. `width` None: as many as the ledger pays. Raises ValueError for models without
    tokens and for those that draw in one block.
    """
    require_tokens(model, "prefix")
    if model.num_steps < 2:
        raise ValueError(
            f"{model.name} draws a picture in one block and prefix prunes between blocks; load it with steps=4"
        )
    tokens: Any = model
    looks = min(prunings, model.num_steps - 1)
    unit = price(model, verifier)
    unit = unit.plus(Cost(decoded=looks, scored=looks * unit.scored))
    size = max(1, int(min(width or float("inf"), ledger.affords(unit))))
    seeds, ids = rng.seeds(size), range(size)
    noise = propose(model, [prompt] * size, seeds)
    recipes, branches = list(described(propose, noise, seeds)), set[int]()
    parents: list[int | None] = [None] * size
    with torch.no_grad():
        state = model.start([prompt] * size, noise)
    for step in range(1, model.num_steps):
        if step <= looks and size > 1:
            round = judged(model, verifier, prompt, state, recipes, ids, parents)
            yield round
            best = round.scores.total.argsort(descending=True, stable=True).tolist()[: max(1, int(keep * size + 0.5))]
            taken = [row if row in best else best[row % len(best)] for row in range(size)]
            branches = {row for row in range(size) if row not in best or taken[row] in branches}
            own, fresh = state[taken], randn(rng.seeds(size), model.noise_shape)
            stays = torch.tensor([row in best for row in range(size)])[:, None]
            state = tokens.branch(own, torch.where(stays, own.x.cpu(), fresh))
            recipes, parents = [recipes[row] for row in taken], [ids[row] for row in taken]
            ids = range(step * size, (step + 1) * size)
        with torch.no_grad():
            state = model.advance(state)
    ends = exactly(recipes, given(state.clean.cpu())[:, None])
    recipes = [ends[row] if row in branches else recipes[row] for row in range(size)]
    yield judged(model, verifier, prompt, state, recipes, ids, parents)
