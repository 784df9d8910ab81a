"""Zero-order search: walk over the noise sphere to ever better neighbours."""

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
    """Move the pivot to its best neighbour, if that is better (Ma et al. 2025, arXiv:2501.09732, zero-order search).

    Each of `rounds` (None: as many as the ledger pays, the last one smaller if need be) scores `neighbours` points at
    a fixed angle from the pivot. The pivot is scored once, together with its first neighbours, and kept while nothing
    beats it; the paper drops it then, which loses half the gain. After `patience` rounds without a better neighbour
    the next round starts from a fresh pivot. Evaluations: rounds * neighbours + 1 + restarts.
    """
    recipe: Recipe
    drawn, stale, best = 0, patience, 0.0  # as stale as can be: the first round starts from a fresh pivot
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
