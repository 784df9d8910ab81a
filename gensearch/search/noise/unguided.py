"""The control: best-of-N at its full cost, with random numbers in place of the verifier's scores."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gensearch.core.ledger import Ledger
from gensearch.core.noise import SEED_BITS, Rng, derive, gaussian
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.knobs import Count
from gensearch.search.noise.best_of_n import best_of_n
from verifiers.types import Verifier


def unguided(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: Count = None,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Draw and score samples as best-of-N does, and pick one of them at random.

    Source: a control, without a paper. What it gains over one sample is an error of the measurement.

    The verifier is called and charged as in best-of-N. Its scores are kept in `parts` under its name; `total` is a
    uniform number in [0, 1) from each sample's seed, so the curve of an unguided run says nothing about quality.
    Samples that the verifier could not score still lose. With a `select` of its own it would be no control, so `stream`
    refuses one.

    Args:
        n: number of samples; integer above 0 (default None: as many as the budget allows)
        propose: makes the initial noise (default gaussian)
    """
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n, propose=propose):
        scores = round.scores.total
        draws = [derive(recipe[0][1], "unguided") / 2**SEED_BITS for recipe in round.recipes]
        drawn = torch.tensor(draws, dtype=torch.float64, device=scores.device)
        total = drawn.masked_fill(scores.isneginf(), -torch.inf)
        parts = {**round.scores.parts, verifier.name: scores}
        yield round._replace(scores=round.scores._replace(total=total, parts=parts))
