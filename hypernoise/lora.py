"""LoRA on a copy of the denoiser that shares its weights with the generator."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def shared_copy(network: nn.Module) -> nn.Module:
    """Return a frozen copy that shares its weights, so that layers can be replaced without changing the original.

    Args:
        network: any module.
    """
    memo: dict[int, Tensor] = {id(buffer): buffer for buffer in network.buffers()}
    memo |= {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    return copy.deepcopy(network, memo)


def zero_layer(network: nn.Module, name: str) -> None:
    """Replace a layer by a frozen one of its kind with zero weights.

    Args:
        network: changed in place.
        name: of a linear layer or convolution within it.

    Raises:
        ValueError: if it is another kind of layer.
    """
    layer = dict(network.named_modules()).get(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise ValueError(f"the last layer {name!r} is {type(layer).__name__}; name a linear layer or a convolution")
    zeros = copy.deepcopy(layer)
    for parameter in zeros.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, zeros)


def add_lora(network: nn.Module, rank: int, scaling: float) -> nn.Module:
    """Add LoRA in fp32 to every layer that takes it (Hu et al. 2021, arXiv:2106.09685).

    Args:
        network: changed in place.
        rank: at least 1.
        scaling: factor of what LoRA adds.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name, layer in network.named_modules() if takes_lora(layer)]
    alpha: Any = scaling * rank  # annotated as an integer in peft, and only divided by the rank
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights="gaussian", lora_dropout=0.0
    )
    adapted: nn.Module = inject_adapter_in_model(config, network)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    return adapted


def takes_lora(layer: nn.Module) -> bool:
    """Return whether LoRA is added to a layer: linear layers, and convolutions without groups.

    Args:
        layer: any module.
    """
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
