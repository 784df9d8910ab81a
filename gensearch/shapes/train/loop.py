"""One resumable training loop for every embedded model: seeded batches, cosine rate, EMA, safetensors checkpoints."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Loss = Callable[[int, torch.Generator], Tensor]


def autocast() -> AbstractContextManager[None]:
    """bfloat16 where the processor has AVX-512; elsewhere fp32, since oneDNN emulates bfloat16 ten times slower."""
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


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
) -> None:
    """Train `model` in place and leave its EMA weights in it.

    `loss(step, generator)` makes its own batch; step and generator depend on (seed, step) only, so a run that was
    killed resumes from the last checkpoint in `folder` with the batches it would have seen. Optimiser moments
    restart with the rate's warm-up skipped: they are kept in the checkpoint as well. `slow` maps the beginnings of
    parameter names to the share of the rate that they learn with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    params = list(named.values())
    share = [next((s for start, s in (slow or {}).items() if name.startswith(start)), 1.0) for name in named]
    groups = [{"params": [p], "share": s} for p, s in zip(params, share, strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    ema = [p.detach().clone() for p in params]
    start = restore(folder, params, ema, optimizer)
    model.train()
    began, running = time.monotonic(), 0.0
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = group["share"] * lr * min(1.0, (step + 1) / warmup) * cosine
        with autocast():
            value = loss(step, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        decay = min(ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(ema, [p.detach() for p in params], 1 - decay)
        running += value.item()
        if (step + 1) % 50 == 0:
            rate = (step + 1 - start) / (time.monotonic() - began)
            print(f"step {step + 1}/{steps} loss {running / 50:.5f} {rate:.2f} steps/s", flush=True)
            running = 0.0
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save(folder, step + 1, params, ema, optimizer)
    with torch.no_grad():
        for p, e in zip(params, ema, strict=True):
            p.copy_(e)
    model.eval()


def save(
    folder: Path, step: int, params: list[nn.Parameter], ema: list[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Write one checkpoint file atomically."""
    tensors = {f"param.{i}": p.detach() for i, p in enumerate(params)} | {f"ema.{i}": e for i, e in enumerate(ema)}
    for i, p in enumerate(params):
        state = optimizer.state[p]
        tensors |= {f"m.{i}": state["exp_avg"], f"v.{i}": state["exp_avg_sq"]}
    path = folder / "checkpoint.safetensors"
    partial = path.with_suffix(".partial")
    save_file(
        {k: t.contiguous() for k, t in tensors.items()}, partial, metadata={"progress": json.dumps({"step": step})}
    )
    os.replace(partial, path)


def restore(folder: Path, params: list[nn.Parameter], ema: list[Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Load the checkpoint of `folder`, if there is one; return the step to go on from."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as handle:
        step = json.loads(handle.metadata()["progress"])["step"]
    tensors = load_file(path)
    with torch.no_grad():
        for i, p in enumerate(params):
            p.copy_(tensors[f"param.{i}"])
            ema[i].copy_(tensors[f"ema.{i}"])
            optimizer.state[p] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"m.{i}"],
                "exp_avg_sq": tensors[f"v.{i}"],
            }
    return step
