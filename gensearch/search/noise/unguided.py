"""The control: the cost of best-of-N, and a pick that knows nothing."""

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
    """Best-of-N with a lottery in the verifier's place: what it gains over one sample is an error in the measurement.

    The verifier is asked and paid as in best-of-N. Its opinion is kept in `parts` under its name; `total` is a uniform
    number in [0, 1) from each sample's seed, so the curve of an unguided run is the luck of the draw and says nothing
    about quality. Samples that the verifier could not score still lose. With a `select` of its own it would be no
    control, so `stream` refuses one.
    """
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n, propose=propose):
        judged = round.scores.total
        tickets = [derive(recipe[0][1], "unguided") / 2**SEED_BITS for recipe in round.recipes]
        total = torch.tensor(tickets, dtype=torch.float64, device=judged.device).masked_fill(
            judged.isneginf(), -torch.inf
        )
        yield round._replace(
            scores=round.scores._replace(total=total, parts={**round.scores.parts, verifier.name: judged})
        )
