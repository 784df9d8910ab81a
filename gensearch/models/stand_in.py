"""Stand-ins: models for dry runs with the same steps, costs and verbs as another and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from gensearch.core.types import Model, Noise, State
from gensearch.core.verbs import Rehearsable, Transition
from verifiers.types import Media


def stand_in(model: Model) -> Model:
    """A model without networks, on which a search costs what it costs on the real one unless that depends on scores.

    A model may offer its own by a method `stand_in`. An autoregressive image model that offers none stands in for
    itself, since the length of its plans decides what a sample costs.

    Args:
        model: The real one, which is left as it is.
    """
    if hasattr(model, "stand_in"):
        return cast(Rehearsable, model).stand_in()
    return model if "tokens" in model.verbs else cast(Model, StandIn(model))


class StandIn:
    """The stand-in of a model whose steps all cost the same: samples of four pixels.

    Args:
        model: Whose attributes it has where it defines none.
    """

    noise_shape = (3, 2, 2)

    def __init__(self, model: Model) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.model, name)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """The first step."""
        step = torch.ones(len(prompts), dtype=torch.long)
        return State(tuple(prompts), step, self.model.num_steps, noise, noise, {})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """One more step; noise changes nothing, but gradients reach it."""
        clean = state.clean if noise is None else state.clean + 0 * noise
        return replace(state, step=state.step + 1, x=clean, clean=clean)

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State:
        """Back to an earlier step."""
        return replace(state, step=step)

    def transition(self, state: State) -> Transition:
        """A Gaussian; any will do."""
        return Transition(state.x, torch.ones_like(state.x))

    def render(self, state: State) -> Media:
        """Pictures of four pixels."""
        return state.clean.sigmoid()
