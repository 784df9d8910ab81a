"""Prefix search: prune pictures after their first rows, and branch those that stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, cast

import torch
from pydantic import Field, PositiveInt

from gensearch.core.gumbel import given
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian, randn
from gensearch.core.price import price
from gensearch.core.requires import require_tokens
from gensearch.core.types import Model, Noise, Proposal, Recipe, Round, State
from gensearch.core.verbs import TokenModel
from gensearch.search.knobs import Count
from verifiers.types import Verifier


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
    """Score pictures while they are drawn, and replace the worst of them by branches of the others.

    Source: GridAR, arXiv:2511.21185, and PARM, Guo et al. 2025, arXiv:2501.13926.

    A branch goes on from its parent's tokens with noise of its own. The verifier is given pictures whose missing parts
    are background, and `progress`.

    Args:
        width: pictures that are drawn side by side; integer above 0 (default None: as many as the budget allows)
        keep: share of them that stays at each pruning; number above 0 and at most 1 (default 0.5)
        prunings: number of prunings, one after each block of tokens; integer above 0 (default 2)
        propose: makes the noise of the pictures (default gaussian)

    Raises:
        ValueError: the model draws no image tokens, or draws all of them in one block.
    """
    require_tokens(model, "prefix")
    if model.num_steps < 2:
        raise ValueError(
            f"{model.name} draws a picture in one block and prefix prunes between blocks; load it with steps=4"
        )
    previews = min(prunings, model.num_steps - 1)
    unit = price(model, verifier)
    unit = unit.plus(Cost(decoded=previews, scored=previews * unit.scored))
    size = max(1, int(min(width or float("inf"), ledger.affords(unit))))
    seeds, ids = rng.seeds(size), range(size)
    noise = propose(model, [prompt] * size, seeds)
    recipes, branches = list(described(propose, noise, seeds)), set[int]()
    parents: list[int | None] = [None] * size
    with torch.no_grad():
        state = model.start([prompt] * size, noise)
    for step in range(1, model.num_steps):
        if step <= previews and size > 1:
            round = scored(model, verifier, prompt, state, recipes, ids, parents)
            yield round
            best = round.scores.total.argsort(descending=True, stable=True).tolist()[: max(1, int(keep * size + 0.5))]
            taken = [row if row in best else best[row % len(best)] for row in range(size)]
            branches = {row for row in range(size) if row not in best or taken[row] in branches}
            state = branched(cast(TokenModel, model), state[taken], best, randn(rng.seeds(size), model.noise_shape))
            recipes, parents = [recipes[row] for row in taken], [ids[row] for row in taken]
            ids = range(step * size, (step + 1) * size)
        with torch.no_grad():
            state = model.advance(state)
    ends = exactly(recipes, given(state.clean.cpu())[:, None])
    recipes = [ends[row] if row in branches else recipes[row] for row in range(size)]
    yield scored(model, verifier, prompt, state, recipes, ids, parents)


def branched(model: TokenModel, state: State, best: Sequence[int], noise: Noise) -> State:
    """A state whose rows go on with other noise, except for the `best` ones."""
    stays = torch.tensor([row in best for row in range(len(state))])[:, None]
    return model.branch(state, torch.where(stays, state.x.cpu(), noise))


@torch.no_grad()
def scored(
    model: Model,
    verifier: Verifier,
    prompt: str,
    state: State,
    recipes: list[Recipe],
    ids: range,
    parents: list[int | None],
) -> Round:
    """A round of the pictures of a state, finished or not."""
    media, step = model.render(state), int(state.step[0])
    scores = verifier(media, [prompt] * len(state), progress=step / model.num_steps)
    return Round(media, scores, tuple(recipes), tuple(ids), tuple(parents), done=step == model.num_steps)
