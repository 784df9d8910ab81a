"""Best-of-N: random search over the initial noise."""

from __future__ import annotations

from collections.abc import Iterator

from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, described, gaussian
from gensearch.core.price import price
from gensearch.core.sampling import attempt, next_round
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.knobs import Count
from verifiers.types import Verifier


def best_of_n(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: Count = None,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Draw samples from fresh noise, score each one and keep the best.

    Source: Ma et al. 2025, arXiv:2501.09732, random search.

    Rounds fill the physical batch. The last one never has one sample alone, which would end the search if unscored.

    Args:
        n: number of samples; integer above 0 (default None: as many as the budget allows)
        propose: makes the initial noise (default gaussian)
    """
    drawn, unit = 0, price(model, verifier, propose=propose)
    while left := min((n or float("inf")) - drawn, ledger.affords(unit)):
        size = next_round(model, left)
        seeds = rng.seeds(size)
        noise = propose(model, [prompt] * size, seeds)
        recipes = described(propose, noise, seeds)
        yield attempt(model, verifier, prompt, noise, recipes, range(drawn, drawn + size), [None] * size)
        drawn += size
