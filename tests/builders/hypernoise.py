"""Trainings of the identity, which one process and two must end alike: what a process needs for them, and no more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gensearch.core.noise import randn
from hypernoise.config import TrainConfig
from hypernoise.train import Trainer
from tests.builders.identity import Identity, Linear

TOKENS = {"kind": "tokens", "width": 8, "heads": 2}
PROMPTS = ["a red star", "a blue cat", "two green dogs"]


def trainer(folder: Path, model: Any = None, verifier: Any = None, **config: Any) -> Trainer:
    settings = {"form": TOKENS, "temperature": 0.5, "steps": 6, "batch": 6, "lr": 1e-2, **config}
    accelerator = Accelerator(cpu=True)
    model, verifier = model or Identity(), verifier or Linear(randn([1], (2, 2, 2))[0])
    return Trainer(TrainConfig(**settings), model, verifier, PROMPTS, folder, accelerator)


CASES: dict[str, dict[str, Any]] = {
    "even": {"batch": 8},
    "uneven": {"batch": 5},
    "two rows and three, one at a time": {"batch": 5, "size": 1},
    "a process without rows": {"batch": 1},
    "second order": {"batch": 5, "order": 2},
    "low rank": {"batch": 5, "form": {"kind": "low_rank", "rank": 2}},
    "not a number in one of them": {"batch": 5},
}


def case(name: str, folder: Path) -> Trainer:
    """A run of four updates; in the last case, one process has no gradient in the second of them."""
    settings = {"optimizer": "sgd", "steps": 4, **CASES[name]}
    run = trainer(folder / name, Identity(batch_size=settings.pop("size", 2)), **settings)
    own, loss = run.accelerator, run.loss
    if name.startswith("not") and own.process_index == own.num_processes - 1:

        def broken(rows, passes):
            found, said = loss(rows, passes)
            return found * (math.nan if run.done == 1 else 1), said

        run.loss = broken  # type: ignore[method-assign, assignment]
    return run


def outcome(run: Trainer) -> str:
    """What a run says about itself in the end."""
    *_, last = run
    return f"{run.done} updates, {last.skipped} skipped, {last.nats:.5f} nats, {tuple(run.ledger.spent)}"


def state(run: Trainer) -> dict[str, torch.Tensor]:
    found = {
        f"{i}.{k}": torch.as_tensor(v) for i, p in enumerate(run.params) for k, v in run.optimizer.state[p].items()
    }
    return found | {f"p{i}": p.detach() for i, p in enumerate(run.params)} | {f"e{i}": e for i, e in enumerate(run.ema)}


def same(one: Trainer, two: Trainer) -> bool:
    a, b = state(one), state(two)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
