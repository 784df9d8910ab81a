"""CarBoN: calibrate the logits on the best of a first half, then draw the second half from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from gensearch.core.gumbel import given
from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, described, exactly, gaussian
from gensearch.core.price import price
from gensearch.core.requires import require_tokens
from gensearch.core.sampling import roll, round_size
from gensearch.core.types import Model, Proposal, Round
from gensearch.search.knobs import Count
from verifiers.types import Verifier

STEPS, RATE = 60, 0.05  # of Adam; the problem is small and smooth
COLDEST, HOTTEST = 0.3, 2.0


def calibrated(
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    rng: Rng,
    ledger: Ledger,
    n: Count = None,
    explore: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    elite: Annotated[float, Field(gt=0, le=1)] = 0.25,
    decay: NonNegativeFloat = 0.1,
    propose: Proposal = gaussian,
) -> Iterator[Round]:
    """Draw `explore` of `n` pictures plainly, fit temperature and shift of image logits to the `elite`, draw the rest.

    The fit makes the elite's tokens likelier (arXiv:2510.15674); `decay` is the price of the shift's mean square. `n`
    None: as many as the ledger pays. Raises ValueError for models without tokens.
    """
    require_tokens(model, "calibrated")
    tokens: Any = model
    unit = price(model, verifier, propose=propose)
    states, choices, rewards = list[Tensor](), list[Tensor](), list[float]()
    drawn, current = 0, model
    while (left := min((n or float("inf")) - drawn, ledger.affords(unit))) >= 1:
        first = max(1, round(explore * (drawn + int(left))))  # grows with what shorter plans leave over
        if current is model and drawn >= first:
            best = sorted(range(drawn), key=lambda row: -rewards[row])[: max(1, round(elite * drawn))]
            current = tokens.tilted(*fit(tokens, torch.cat(states)[best], torch.cat(choices)[best], decay))
        plain = current is model
        size = int(min(round_size(model), first - drawn if plain else left))
        seeds = rng.seeds(size)
        noise = propose(model, [prompt] * size, seeds)
        recipes = described(propose, noise, seeds)
        state, media, scores = roll(current, verifier, prompt, noise)
        if not plain:
            recipes = exactly(recipes, given(state.clean.cpu())[:, None])
        yield Round(media, scores, recipes, tuple(range(drawn, drawn + size)), (None,) * size)
        drawn += size
        if plain:
            trace = tokens.trace(state)
            states.append(trace.image_states)
            choices.append(trace.image)
            rewards += scores.total.tolist()


def fit(model: Any, states: Tensor, tokens: Tensor, decay: float) -> tuple[float, Tensor]:
    """Temperature and shift [vocabulary] by which tokens [e, n] become likeliest given states [e, n, rows, width]."""
    with torch.no_grad():
        logits = model.logits("image", states).flatten(0, 1)
    chosen = tokens.flatten().to(logits.device)
    with torch.enable_grad():
        shift = torch.zeros(logits.shape[-1], device=logits.device, requires_grad=True)
        log_temperature = torch.zeros((), device=logits.device, requires_grad=True)
        adam = torch.optim.Adam([shift, log_temperature], RATE)
        for _ in range(STEPS):
            told = (logits + shift) / log_temperature.exp()
            loss = torch.nn.functional.cross_entropy(told, chosen) + decay * shift.square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return min(HOTTEST, max(COLDEST, log_temperature.exp().item())), shift.detach()
