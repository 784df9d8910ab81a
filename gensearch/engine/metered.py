"""Models, proposals and verifiers behind a ledger: refused before they exceed a limit, booked when they are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, TypeVar, cast

import torch

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.price import charges, decoder_batch, fee, scorings, step_costs
from gensearch.core.types import Model, Noise, Proposal, State, cat
from gensearch.core.verbs import ChunkModel, TokenModel
from gensearch.engine.booked import booked
from verifiers.batches import padding, pieces, sizes
from verifiers.combine import leaves, with_leaves
from verifiers.types import Media, Scores, Verifier

T = TypeVar("T")


class MeteredModel:
    """A model whose every network pass goes through a ledger, one physical batch at a time.

    A call that does not fit does nothing. Each batch is booked when it is done, so the account
    is right after an exception. Autoregressive image and video models book each of their passes themselves.

    Args:
        model: The generator.
        ledger: Pays for it.

    Raises:
        BudgetSpent: By each method, for a call that does not fit.
    """

    def __init__(self, model: Model, ledger: Ledger) -> None:
        self._books = bool({"tokens", "chunks"} & model.verbs)
        self._model: Any = cast(TokenModel | ChunkModel, model).booked(ledger.charge) if self._books else model
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """One network step for every row, as Model.start.

        Raises:
            BudgetSpent: It does not fit.
        """
        steps = [0] * len(prompts)
        return self._step("starting", steps, lambda rows: self._model.start(prompts[rows], noise[rows]), None)

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """One more network step for every row, as Model.advance.

        Raises:
            BudgetSpent: It does not fit.
        """
        part = _part(state)
        if "chunks" in self._model.verbs:  # in one piece: rows may share the encoding of a prefix
            self._ledger.require(f"advancing {len(state)} samples", self._model.due(state))
            return cast(State, self._model.advance(state, noise))
        return self._step(
            "advancing",
            state.step.clamp(max=state.num_steps - 1).tolist(),
            lambda rows: self._model.advance(part(rows), None if noise is None else noise[rows]),
            state,
        )

    def rewind(self, state: State, step: torch.Tensor, noise: Noise) -> State:
        """One network step at an earlier, noisier point for every row, as Rewindable.rewind.

        Raises:
            BudgetSpent: It does not fit.
        """
        part = _part(state)
        steps = [0] * len(state)
        rewound = lambda rows: self._model.rewind(part(rows), step[rows], noise[rows])  # noqa: E731
        return self._step("rewinding", steps, rewound, state)

    def render(self, state: State) -> Media:
        """Decode every row; a clip counts as one, also where a decoder goes on from an earlier prefix.

        Raises:
            BudgetSpent: It does not fit.
        """
        if "chunks" in self._model.verbs:
            self._ledger.require(f"decoding {len(state)} samples", Cost(decoded=len(state)))
            media = self._model.render(state)
            self._ledger.charge(Cost(decoded=len(state)))
            return cast(Media, media)
        part, size = _part(state), decoder_batch(self._model)
        shown = self._batches(
            "decoding", len(state), size, Cost(decoded=1), lambda rows: self._model.render(part(rows))
        )
        return torch.cat(shown)

    def tilted(self, temperature: float, shift: torch.Tensor) -> MeteredModel:
        """TokenModel.tilted behind the same ledger."""
        return MeteredModel(self._model.tilted(temperature, shift), self._ledger)

    def _step(self, verb: str, steps: Sequence[int], work: Callable[[slice], State], before: State | None) -> State:
        costs = step_costs(self._model)
        due = reduce(Cost.plus, [costs[step] for step in steps])
        self._ledger.require(f"{verb} {len(steps)} samples", due)
        most = self._model.batch_size
        whole = self._books  # in one piece: rows may share a context
        made = [work(slice(0, len(steps)))] if whole else self._batches(verb, len(steps), most, costs[0], work)
        return noted(cat(made), before, sizes(len(steps), most))

    def _batches(self, verb: str, rows: int, most: int, unit: Cost, work: Callable[[slice], T]) -> list[T]:
        self._ledger.require(f"{verb} {rows} samples", unit.times(rows))
        done = []
        for part, count, size in pieces(rows, most):
            done.append(work(part))
            self._ledger.charge(unit.times(count), unit.times(size - count))
        return done


def noted(state: State, before: State | None, made: Sequence[int]) -> State:
    """The state with its physical batch sizes in `extra["sizes"]`, [b, num_steps]: one for each step of each row.

    Args:
        state: After a network step.
        before: Before it; None for the first step.
        made: The size of the batch in which each row took the step, b of them.
    """
    if "sizes" in state.extra:  # the model records them itself
        return state
    known = before.extra.get("sizes") if before is not None else None
    steps = torch.zeros(len(state), state.num_steps, dtype=torch.long) if known is None else known.clone()
    steps.scatter_(1, (state.step - 1).view(-1, 1), torch.tensor(made).view(-1, 1))
    return replace(state, extra={**state.extra, "sizes": steps})


def _part(state: State) -> Callable[[slice], State]:
    return lambda rows: state[range(len(state))[rows]]


class MeteredProposal:
    """A proposal behind a ledger; plain noise costs nothing and needs none.

    Args:
        propose: Where noise comes from.
        ledger: Pays for its networks.
    """

    def __init__(self, propose: Proposal, ledger: Ledger) -> None:
        self._propose = propose
        self._ledger = ledger
        self.cost = fee(propose)

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Noise [b, *noise_shape] for every row.

        Args:
            model: The generator.
            prompts: b of them.
            seeds: b of them.

        Raises:
            BudgetSpent: It does not fit; nothing was run.
        """
        rows = len(seeds)
        self._ledger.require(f"proposing {rows} noises", self.cost.times(rows))
        with torch.no_grad():
            noise = self._propose(model, prompts, seeds)
        self._ledger.charge(self.cost.times(rows), self.cost.times(padding(rows, model.batch_size)))
        return noise


class MeteredVerifier:
    """A verifier behind a ledger, in whose scores NaN becomes -inf: unscored samples are counted and never win.

    One score is charged per sample and single verifier: a sum of two costs two, and each has its own batches.

    Args:
        verifier: The guide, or the selector.
        ledger: Pays for it.
        select: Given with a guide: the selector, whose scores searches include when they plan their budget.
    """

    def __init__(self, verifier: Verifier, ledger: Ledger, select: Verifier | None = None) -> None:
        self._verifier = verifier
        self._booked = with_leaves(verifier, lambda single: booked(single, ledger))
        self._ledger = ledger
        self.name = verifier.name
        self.differentiable = verifier.differentiable
        self.looks = scorings(verifier) + (scorings(select) if select else 0)
        self.charges = charges(verifier).plus(charges(select) if select else Cost())
        self._fee = charges(verifier)
        self.unscored = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verifier, name)  # also `terms`, by which the verifiers in a sum are counted

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score every row; an infinite score counts as none.

        Raises:
            BudgetSpent: It does not fit; nothing was run.
        """
        rows = len(prompts)
        frames = media.shape[1] if media.ndim == 5 else 1  # the most pictures of one clip
        due = Cost(scored=rows * len(leaves(self._verifier))).plus(self._fee.times(rows * frames))
        self._ledger.require(f"scoring {rows} samples", due)
        scores = self._booked(media, prompts, progress=progress)
        missing = ~torch.isfinite(scores.total)
        self.unscored += int(missing.sum())
        return scores._replace(total=scores.total.masked_fill(missing, -torch.inf))
