"""CarBoN: calibrate the image logits on the best of a first part, then draw the rest from them."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Annotated, cast

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
from gensearch.core.verbs import TokenModel
from gensearch.search.knobs import Count
from verifiers.types import Verifier

STEPS, RATE = 60, 0.05  # of Adam; the problem is small and smooth
COLDEST, HOTTEST = 0.3, 2.0  # temperatures


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
    """Fit a temperature and a shift of the image logits to the best first pictures, and draw the rest with them.

    Source: CarBoN, arXiv:2510.15674.

    The fit makes the tokens of the best pictures likelier; the shift is shared by all positions.

    Args:
        n: number of pictures; integer above 0 (default None: as many as the budget allows)
        explore: share of them that is drawn without calibration; number above 0 and below 1 (default 0.5)
        elite: share of these that is fitted; number above 0 and at most 1 (default 0.25)
        decay: weight of the shift's mean square in the fit; number at least 0 (default 0.1)
        propose: makes the noise of the pictures (default gaussian)

    Raises:
        ValueError: the model draws no image tokens.
    """
    require_tokens(model, "calibrated")
    tokens = cast(TokenModel, model)
    unit = price(model, verifier, propose=propose)
    states, choices, rewards = list[Tensor](), list[Tensor](), list[float]()
    drawn, current = 0, tokens
    while (left := min((n or float("inf")) - drawn, ledger.affords(unit))) >= 1:
        first = max(1, round(explore * (drawn + int(left))))  # grows with what shorter plans leave over
        ranked = sorted((row for row, r in enumerate(rewards) if r > -inf), key=lambda row: -rewards[row])
        if current is tokens and drawn >= first and ranked:  # without any score it goes on as before
            best = ranked[: max(1, round(elite * drawn))]
            current = tokens.tilted(*fit(tokens, torch.cat(states)[best], torch.cat(choices)[best], decay))
        plain = current is tokens
        size = int(min(round_size(model), first - drawn if plain and first > drawn else left))
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


def fit(model: TokenModel, states: Tensor, tokens: Tensor, decay: float) -> tuple[float, Tensor]:
    """Temperature and shift [vocabulary] that make tokens [e, n] likeliest given states [e, n, rows, width]."""
    with torch.no_grad():
        logits = model.logits("image", states).flatten(0, 1)
    chosen = tokens.flatten().to(logits.device)
    with torch.enable_grad():
        shift = torch.zeros(logits.shape[-1], device=logits.device, requires_grad=True)
        log_temperature = torch.zeros((), device=logits.device, requires_grad=True)
        adam = torch.optim.Adam([shift, log_temperature], RATE)
        for _ in range(STEPS):
            fitted = (logits + shift) / log_temperature.exp()
            loss = torch.nn.functional.cross_entropy(fitted, chosen) + decay * shift.square().mean()
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
    return min(HOTTEST, max(COLDEST, log_temperature.exp().item())), shift.detach()
