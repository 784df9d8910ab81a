"""Zero-order search: local search on the sphere of initial noises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field, PositiveInt

from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, described, gaussian, nearby, randn
from gensearch.core.price import fee, price
from gensearch.core.sampling import attempt
from gensearch.core.types import Model, Proposal, Recipe, Round
from gensearch.search.knobs import Count
from verifiers.types import Verifier


def zero_order(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    rounds: Count = None,
    neighbours: PositiveInt = 4,
    cosine: Annotated[float, Field(gt=-1, lt=1)] = 0.95,
    patience: PositiveInt = 8,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Score neighbours of a pivot noise, and move the pivot to the best one if that is better.

    Source: Ma et al. 2025, arXiv:2501.09732, zero-order search.

    The pivot is scored once, together with its first neighbours, and kept while nothing beats it. The paper drops it
    then, which loses half the gain. The last round is smaller if the budget ends. Cost: rounds * neighbours + 1 +
    restarts evaluations.

    Args:
        rounds: number of rounds; integer above 0 (default None: until the budget is spent)
        neighbours: samples per round; integer above 0 (default 4)
        cosine: cosine of the angle between the pivot and a neighbour; number above -1 and below 1 (default 0.95)
        patience: rounds without an improvement before a fresh pivot is drawn; integer above 0 (default 8)
        propose: makes the noise of a fresh pivot (default gaussian)
    """
    recipe: Recipe
    drawn, stale, best = 0, patience, 0.0  # stale from the start: the first round draws a fresh pivot
    unit = price(model, verifier)
    for _ in ledger.rounds(rounds, unit):
        fresh = stale >= patience and ledger.affords(unit.plus(fee(propose))) >= 1
        if fresh:
            start = rng.seeds(1)
            pivot, home = propose(model, [prompt], start), drawn
            (recipe,) = described(propose, pivot, start)
        steps = rng.seeds(int(min(neighbours, ledger.affords(unit) - fresh)))
        ids = range(drawn, drawn + fresh + len(steps))
        rows = [pivot] * fresh + [nearby(pivot, randn([seed], model.noise_shape), cosine) for seed in steps]
        recipes = [recipe] * fresh + [(*recipe, ("nearby", seed, cosine)) for seed in steps]
        round = attempt(model, verifier, prompt, torch.cat(rows), recipes, ids, [None] * fresh + [home] * len(steps))
        yield round
        drawn += len(ids)
        totals = round.scores.total.tolist()
        best, stale = (totals[0], 0) if fresh else (best, stale)
        top = totals.index(max(totals))
        if totals[top] > best:
            pivot, recipe, home, best, stale = rows[top], recipes[top], ids[top], totals[top], 0
        else:
            stale += 1
