"""Hashes of what a pipeline is made of: two with the same hashes are the same generator."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn


def component_hashes(pipeline: Any) -> dict[str, str]:
    """The SHA-256 of every network and tokenizer of a diffusers pipeline, by component name."""
    hashes = {}
    for name, component in pipeline.components.items():
        if isinstance(component, nn.Module):
            hashes[name] = module_hash(component)
        elif hasattr(component, "get_vocab"):
            hashes[name] = hashlib.sha256(json.dumps(component.get_vocab(), sort_keys=True).encode()).hexdigest()
    return hashes


def module_hash(module: nn.Module) -> str:
    """The SHA-256 of a network's configuration, parameters and buffers, wherever it was loaded from."""
    digest = hashlib.sha256(json.dumps(settings(module), sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def settings(module: nn.Module) -> dict[str, Any]:
    """A network's configuration, without where it came from and which version wrote it."""
    config: Any = getattr(module, "config", {})
    found = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    written = ("transformers_version", "architectures", "dtype")  # by saving and loading
    return {k: v for k, v in found.items() if not k.startswith("_") and k not in written}
