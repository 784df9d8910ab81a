"""Clips in progress on disk: stop after any chunk and go on in another process, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gensearch.core.types import Rows, State
from gensearch.files.atomic import write_atomic
from gensearch.files.compare import MACHINE, compare
from gensearch.models.chunks.clip import Chunk, without_caches


def save_clips(state: State, path: Path, model: Any) -> None:
    """Write the chunks of every row, each once however many rows share it, without caches.

    Args:
        state: Of a chunk-autoregressive video model.
        path: The file, in safetensors.
        model: That made the state; its fingerprint is written too.
    """
    tensors = {"step": state.step, "x": state.x, "clean": state.clean}
    numbers: dict[int, int] = {}
    rows = []
    for chunk in state.extra["clip"]:
        for part in chunk.clip():
            if id(part) not in numbers:
                numbers[id(part)] = len(numbers)
                tensors[f"chunk.{numbers[id(part)]}"] = part.sample
        rows.append([numbers[id(part)] for part in chunk.clip()])
    about = {"prompts": json.dumps(state.prompts), "rows": json.dumps(rows), "num_steps": str(state.num_steps)}
    about |= {"model": json.dumps(model.fingerprint())}
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(kept, metadata=about))


def load_clips(path: Path, model: Any) -> State:
    """The state that `save_clips` wrote.

    Args:
        path: The file.
        model: That made the state.

    Raises:
        ValueError: The file is no such file, or another model made it.
    """
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        prompts, rows = json.loads(about["prompts"]), json.loads(about["rows"])
        num_steps, made_by = int(about["num_steps"]), json.loads(about["model"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no clips in progress ({error}); give a file of save_clips") from None
    if num_steps != model.num_steps or tensors["x"].shape[1:] != torch.Size(model.noise_shape):
        raise ValueError(
            f"{path} holds clips of {num_steps} chunks with noise {list(tensors['x'].shape[1:])}; {model.name} makes "
            f"{model.num_steps} with noise {list(model.noise_shape)}. Load the model that made them"
        )
    now = json.loads(json.dumps(model.fingerprint()))
    if changed := [name for name in compare(made_by, now) if name.partition(".")[0] not in MACHINE]:
        raise ValueError(
            f"{path} holds clips of another model: {', '.join(changed)} differ. Load the one that made them"
        )
    known: dict[int, Chunk] = {}  # shared by rows, as they were
    for prompt, row in zip(prompts, rows, strict=True):
        chunk = None
        for number in row:
            chunk = known.setdefault(number, Chunk(prompt, tensors[f"chunk.{number}"], chunk))
    tails = Rows(known[row[-1]] for row in rows)
    extra = {"clip": tails, "cache": without_caches(tails)}
    return State(tuple(prompts), tensors["step"], num_steps, tensors["x"], tensors["clean"], extra)
