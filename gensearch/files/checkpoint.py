"""Training checkpoints in one safetensors file: parameters, their average, optimiser state, and progress as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gensearch.files.atomic import write_atomic

Parameters = Sequence[nn.Parameter]


def save(
    path: Path, params: Parameters, ema: Sequence[Tensor], optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write a checkpoint atomically.

    Args:
        path: of the file.
        params: in a fixed order.
        ema: their average, in the same order.
        optimizer: of these parameters.
        progress: JSON data.
    """
    from safetensors.torch import save as serialise

    tensors = {f"param.{i}": p.detach() for i, p in enumerate(params)} | {f"ema.{i}": e for i, e in enumerate(ema)}
    for i, p in enumerate(params):
        state = {name: value for name, value in optimizer.state.get(p, {}).items() if value is not None}
        tensors |= {f"state.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
    plain = {name: tensor.to("cpu").contiguous() for name, tensor in tensors.items()}
    write_atomic(path, serialise(plain, {"progress": json.dumps(progress)}))


def restore(
    path: Path, params: Parameters, ema: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Load a checkpoint in place, and return its progress; None if there is no checkpoint.

    Args:
        path: of the file.
        params: as they were saved.
        ema: their average.
        optimizer: of these parameters.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as handle:
        progress: dict[str, Any] = json.loads(handle.metadata()["progress"])
    tensors = load_file(path)
    with torch.no_grad():
        for i, p in enumerate(params):
            p.copy_(tensors[f"param.{i}"])
            ema[i].copy_(tensors[f"ema.{i}"])
            prefix = f"state.{i}."
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            if own:
                optimizer.state[p] = {name: t if t.ndim == 0 else t.to(p.device) for name, t in own.items()}
    return progress


@torch.no_grad()
def average(ema: Sequence[Tensor], params: Parameters, decay: float, step: int) -> None:
    """Update an exponential moving average of parameters.

    Args:
        ema: the average, changed in place.
        params: in the same order.
        decay: in [0, 1); reached gradually over the first updates.
        step: number of the update, from 0.
    """
    torch._foreach_lerp_(list(ema), [p.detach() for p in params], 1 - min(decay, (1 + step) / (10 + step)))
