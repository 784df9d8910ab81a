"""The resumable training loop of all embedded models: seeded batches, cosine rate, EMA, safetensors checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gensearch.files import checkpoint
from gensearch.shapes.train.muon import Muon

CHECKPOINT = "checkpoint.safetensors"
T = TypeVar("T")
Loss = Callable[[int, torch.Generator], Tensor]


def accelerator() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: str = "cpu") -> AbstractContextManager[None]:
    """Use bfloat16 on GPUs and AVX-512, else fp32, since oneDNN emulates bfloat16 ten times slower."""
    if device == "cuda" or torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def spare() -> int:
    """Return the number of cores for data loading: all but one beside a GPU, else none."""
    return len(os.sched_getaffinity(0)) - 1 if torch.cuda.is_available() else 0


def ahead(make: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """Yield `make(number)` for each number in order; beside a GPU other processes compute them ahead of time."""
    workers = spare()
    settings: dict[str, Any] = {"collate_fn": make, "num_workers": workers}
    if workers:
        settings["multiprocessing_context"] = "fork"  # `make` may be a closure
    return iter(DataLoader(list(numbers), None, **settings))  # type: ignore[arg-type]  # a list is a map-style dataset


class Batches(Generic[T]):
    """The batches `make(step)`, called with consecutive steps below `steps` from any first one on."""

    def __init__(self, make: Callable[[int], T], steps: int) -> None:
        self.make, self.steps = make, steps
        self.made: Iterator[T] | None = None

    def __call__(self, step: int) -> T:
        """Return the batch of a step."""
        if self.made is None:
            self.made = ahead(self.make, range(step, self.steps))
        return next(self.made)


def fit(
    model: nn.Module,
    loss: Loss,
    *,
    folder: Path,
    steps: int,
    lr: float,
    warmup: int = 100,
    weight_decay: float = 0.01,
    ema_decay: float = 0.999,
    save_every: int = 500,
    seed: int = 0,
    slow: Mapping[str, float] | None = None,
    matrices: Collection[Tensor] = (),
) -> None:
    """Train a model in place on its device, resume from the last checkpoint if there is one, and leave the EMA in it.

    Args:
        model: to train.
        loss: called as loss(step, generator), makes its own batch; the generator depends on (seed, step) only.
        folder: of the checkpoint.
        steps: number of updates.
        lr: peak learning rate.
        warmup: updates of linear warm-up.
        weight_decay: of both optimisers.
        ema_decay: of the average of the weights.
        save_every: updates between checkpoints.
        seed: determines the generators.
        slow: prefix of parameter names -> share of the learning rate.
        matrices: updated by Muon; the other parameters by AdamW.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = by_rate(model, slow or {})
    params = [p for group in groups for p in group["params"]]
    optimizer = Muon(groups, matrices, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    ema = [p.detach().clone() for p in params]
    progress = checkpoint.restore(folder / CHECKPOINT, params, ema, optimizer)
    start = progress["step"] if progress else 0
    model.train()
    device, began, running = params[0].device, time.monotonic(), torch.zeros(())
    for step in range(start, steps):
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        set_rates(optimizer, lr, step, steps, warmup)
        with autocast(device.type):
            value = loss(step, generator)
        descend(value, params, optimizer)
        checkpoint.average(ema, params, ema_decay, step)
        running = running + value.detach()
        if (step + 1) % 50 == 0:
            rate = (step + 1 - start) / (time.monotonic() - began)
            print(f"step {step + 1}/{steps} loss {float(running) / 50:.5f} {rate:.2f} steps/s", flush=True)
            running = torch.zeros(())
        if (step + 1) % save_every == 0 or step + 1 == steps:
            checkpoint.save(folder / CHECKPOINT, params, ema, optimizer, {"step": step + 1})
    with torch.no_grad():
        for p, e in zip(params, ema, strict=True):
            p.copy_(e)
    model.eval()


def descend(value: Tensor, params: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Do one update by the gradient of a loss, clipped to norm 1."""
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()


def set_rates(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int, warmup: int) -> None:
    """Set the learning rate of every group: a linear warm-up, and a cosine from `lr` to 2 % of it."""
    for group in optimizer.param_groups:
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
        group["lr"] = group["share"] * lr * min(1.0, (step + 1) / warmup) * cosine


def learn_only(model: nn.Module, *parts: str) -> None:
    """Unfreeze some submodules and freeze all others."""
    model.requires_grad_(False)
    for part in parts:
        model.get_submodule(part).requires_grad_(True)


def by_rate(model: nn.Module, slow: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the trained parameters in groups with the same share of the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = next((share for start, share in slow.items() if name.startswith(start)), 1.0)
            groups.setdefault(share, []).append(parameter)
    return [{"params": params, "share": share} for share, params in groups.items()]
