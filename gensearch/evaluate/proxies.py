"""A job whose networks can run together with those of other searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from gensearch.core.price import decoder_batch
from gensearch.core.types import Model, Noise, State
from gensearch.engine.booked import paid
from gensearch.engine.job import Job
from gensearch.evaluate.joint import Call
from gensearch.evaluate.lockstep import Ask
from verifiers.combine import Panel, with_leaves
from verifiers.types import Media, Scores, Verifier


def joinable(model: Model) -> bool:
    """Whether the searches on a model can run side by side, and rows of several of them in one call.

    Rows that can be copied and joined do not depend on others, and neither do those of a model of a single step. Models
    that book their passes themselves cannot say which search a joined pass was for.

    Args:
        model: The generator.
    """
    books = bool({"tokens", "chunks"} & model.verbs)
    return not books and ("branch" in model.verbs or model.num_steps == 1)


def shared(job: Job, ask: Ask) -> Job:
    """A job whose model and verifiers hand their calls over instead of running them.

    Args:
        job: What to run; its model is joinable.
        ask: Takes the calls.
    """
    panel = job.panel
    guide = with_leaves(panel.guide, lambda single: scorer(single, ask))
    select = None if panel.select is panel.guide else with_leaves(panel.select, lambda single: scorer(single, ask))
    return replace(job, model=cast(Model, JointModel(job.model, ask)), panel=Panel(guide, cast(Verifier, select)))


class JointModel:
    """A model whose network calls are handed over.

    Args:
        model: The generator.
        ask: Takes the calls.
    """

    def __init__(self, model: Model, ask: Ask) -> None:
        self._model, self._ask = model, ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """As Model.start."""
        return cast(State, self._call("start", list(prompts), noise))

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """As Model.advance."""
        return cast(State, self._call("advance", state, noise))

    def rewind(self, state: State, step: torch.Tensor, noise: Noise) -> State:
        """As Rewindable.rewind."""
        return cast(State, self._call("rewind", state, step, noise))

    def render(self, state: State) -> Media:
        """As Model.render."""
        return cast(Media, self._call("render", state))

    def _call(self, verb: str, *rows: Any) -> Any:
        most = decoder_batch(self._model) if verb == "render" else self._model.batch_size
        return self._ask(Call(self._model, verb, rows, most, 1.0, torch.is_grad_enabled()))


def scorer(verifier: Verifier, ask: Ask) -> Verifier:
    """A single verifier whose calls are handed over; without a network in batches, or with a bill, as it is.

    Args:
        verifier: Single.
        ask: Takes the calls.
    """
    apart = paid(verifier) or hasattr(verifier, "compare") or not getattr(verifier, "batch_size", None)
    return verifier if apart else JointVerifier(verifier, ask)


class JointVerifier:
    """A verifier whose calls are handed over.

    Args:
        verifier: Single, with a `batch_size`.
        ask: Takes the calls.
    """

    def __init__(self, verifier: Verifier, ask: Ask) -> None:
        self._verifier, self._ask = verifier, ask
        self.name, self.differentiable = verifier.name, verifier.differentiable

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verifier, name)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """As Verifier."""
        most = int(self.batch_size)
        rows = (media, list(prompts))
        return cast(Scores, self._ask(Call(self._verifier, "score", rows, most, progress, torch.is_grad_enabled())))
