"""One resumable training loop for every embedded model: seeded batches, cosine rate, EMA, safetensors checkpoints."""

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
    """Where there is a GPU to train on, it; else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: str = "cpu") -> AbstractContextManager[None]:
    """bfloat16 on GPUs and AVX-512; on other processors fp32, since oneDNN emulates bfloat16 ten times slower."""
    if device == "cuda" or torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def spare() -> int:
    """How many cores are idle while a GPU trains."""
    return len(os.sched_getaffinity(0)) - 1 if torch.cuda.is_available() else 0


def ahead(make: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """`make(number)` for each number in order; beside a GPU other processes make them ahead of time."""
    workers = spare()
    settings: dict[str, Any] = {"collate_fn": make, "num_workers": workers}
    if workers:
        settings["multiprocessing_context"] = "fork"  # `make` may be a closure
    return iter(DataLoader(list(numbers), None, **settings))  # type: ignore[arg-type]


class Batches(Generic[T]):
    """What `make(step)` draws, called with one step after another up to `steps`, beginning anywhere."""

    def __init__(self, make: Callable[[int], T], steps: int) -> None:
        self.make, self.steps = make, steps
        self.made: Iterator[T] | None = None

    def __call__(self, step: int) -> T:
        """The batch of this step."""
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
    """Train `model` in place, on the device that it is on, and leave its EMA weights in it.

    `loss(step, generator)` makes its own batch; step and generator depend on (seed, step) only, so a run that was
    killed resumes from the last checkpoint in `folder` with the batches it would have seen. `slow` maps the beginnings
    of parameter names to the share of the rate that they learn with. `matrices` are updated by Muon, the rest by AdamW.
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
        for group in optimizer.param_groups:
            cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = group["share"] * lr * min(1.0, (step + 1) / warmup) * cosine
        with autocast(device.type):
            value = loss(step, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
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


def learn_only(model: nn.Module, *parts: str) -> None:
    """Let some submodules learn and freeze all else."""
    model.requires_grad_(False)
    for part in parts:
        model.get_submodule(part).requires_grad_(True)


def by_rate(model: nn.Module, slow: Mapping[str, float]) -> list[dict[str, Any]]:
    """What is trained, in groups that learn with the same share of the rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = next((share for start, share in slow.items() if name.startswith(start)), 1.0)
            groups.setdefault(share, []).append(parameter)
    return [{"params": params, "share": share} for share, params in groups.items()]
