"""QAlign: a Markov chain over token sequences with the reward-tilted distribution of the base model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from pydantic import PositiveFloat, PositiveInt

from gensearch.core.gumbel import given
from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, derive, described, exactly, gaussian, randn
from gensearch.core.price import fee, price
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import roll
from gensearch.core.types import Model, Proposal, Round
from gensearch.core.verbs import TokenModel
from gensearch.search.knobs import Count
from verifiers.types import Verifier

LIMIT = 20.0  # bound on the log-ratio, as in the paper's code


def suffix_mcmc(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    iterations: Count = None,
    chains: PositiveInt = 1,
    beta: PositiveFloat = 0.1,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Draw the tokens after a random cut anew, and keep them with probability exp((r' - r) / beta).

    Source: QAlign, Faria and Smith 2025, arXiv:2504.03790.

    The chain leaves p(picture) exp(r / beta) / Z invariant: the likelihood under the base model cancels, and so does
    the number of cuts, which is that of image tokens. The plan stays, and all chains share the cut. It samples rather
    than maximises, so it resists rewards that can be exploited, and it is a control for gradients on tokens.

    Args:
        iterations: rounds after the first; integer above 0 (default None: until the budget is spent)
        chains: Markov chains side by side; integer above 0 (default 1)
        beta: temperature, in units of the score; number above 0 (default 0.1)
        propose: makes the noise of the first pictures (default gaussian)

    Raises:
        ValueError: the model draws no image tokens.
    """
    require_tokens(model, "suffix_mcmc")
    unit = price(model, verifier)
    seeds = rng.seeds(int(min(chains, ledger.affords(unit.plus(fee(propose))))))
    size, text = len(seeds), cast(TokenModel, model).text_length
    now = propose(model, [prompt] * size, seeds)
    plain = described(propose, now, seeds)
    state, media, scores = roll(model, verifier, prompt, now)
    yield Round(media, scores, plain, tuple(range(size)), (None,) * size)
    home, reward, tokens, drawn = list(range(size)), scores.total.tolist(), state.clean.cpu(), size
    for _ in ledger.rounds(iterations, unit.times(size)):
        fresh = rng.seeds(size)
        cut = text + derive(fresh[0], "cut") % (len(tokens[0]) - text)
        noise = randn(fresh, model.noise_shape)
        noise[:, :cut] = given(tokens[:, :cut])
        state, media, scores = roll(model, verifier, prompt, noise)
        ids = range(drawn, drawn + size)
        yield Round(media, scores, exactly(plain, noise[:, None]), tuple(ids), tuple(home))
        drawn += size
        for chain, (new, old, seed) in enumerate(zip(scores.total.tolist(), reward, fresh, strict=True)):
            if accepts(new, old, beta, seed):
                home[chain], reward[chain], tokens[chain] = ids[chain], new, state.clean[chain].cpu()


def accepts(new: float, old: float, beta: float, seed: int) -> bool:
    """The Metropolis rule on rewards; a sample that was not scored (-inf) is never accepted and always replaced."""
    if not math.isfinite(new):
        return False
    if not math.isfinite(old):
        return True
    ratio = max(-LIMIT, min(LIMIT, (new - old) / beta))
    uniform = torch.rand((), generator=torch.Generator().manual_seed(derive(seed, "accept")), dtype=torch.float64)
    return math.log(float(uniform)) < ratio
