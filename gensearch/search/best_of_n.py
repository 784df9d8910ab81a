"""Best-of-N: random search over starting noises."""

from __future__ import annotations

from collections.abc import Iterator

from gensearch.ledger import Ledger
from gensearch.noise import Rng, gaussian
from gensearch.sampling import generate, price, round_size
from gensearch.types import Model, Proposal, Recipe, Round
from verifiers.types import Verifier


def best_of_n(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: int | None = None,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Draw `n` samples (None: as many as the ledger pays) and score each (Ma et al. 2025, arXiv:2501.09732)."""
    drawn = 0
    while size := int(min(round_size(model), (n or float("inf")) - drawn, ledger.affords(price(model)))):
        seeds = rng.seeds(size)
        prompts = [prompt] * size
        recipes: tuple[Recipe, ...] = tuple((("gaussian", seed),) for seed in seeds)
        media = generate(model, prompts, propose(model, prompts, seeds), recipes)
        yield Round(media, verifier(media, prompts), recipes, tuple(range(drawn, drawn + size)), (None,) * size)
        drawn += size
