"""Residual noise networks f(x0, prompt): zero before training, beside a generator that never changes.

All are called with noise [b, c, h, w] and the generator's conditions, of which text features [b, length, width] come
first, and return what to add to the noise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Look = Callable[..., Tensor]  # network, noise, *conditions -> what it says about pure noise


class LowRank(nn.Module):
    """The generator's own network with LoRA, whose last layer speaks through LoRA alone.

    HyperNoise, Eyring et al. 2025, arXiv:2508.09968. `look` calls a network of the generator's kind on pure noise.
    The base weights are shared with the generator, and frozen; the generator itself has no adapter to toggle.
    `only` keeps the low frequencies of what it says: the subspace form, which needs few ranks.
    """

    def __init__(
        self,
        network: nn.Module,
        look: Look,
        *,
        rank: int = 128,
        scaling: float = 2.0,
        last: str,
        only: Lowpass | None = None,
    ) -> None:
        super().__init__()
        adapted = shared_copy(network)
        silence(adapted, last)
        self.network = add_lora(adapted, rank, scaling)
        self.look = look
        self.only = only

    def forward(self, noise: Tensor, *conditions: Tensor) -> Tensor:
        """[b, c, h, w]."""
        said = self.look(self.network, noise, *conditions)
        return self.only.back(self.only(said)) if self.only else said


class Difference(nn.Module):
    """What LoRA changes in the generator's own network: adapted less base output, which costs one more pass."""

    def __init__(self, network: nn.Module, look: Look, *, rank: int = 128, scaling: float = 2.0) -> None:
        super().__init__()
        self.network = add_lora(shared_copy(network), rank, scaling)
        self.base = [network]  # in a list: not a part of this module
        self.look = look

    def forward(self, noise: Tensor, *conditions: Tensor) -> Tensor:
        """[b, c, h, w]."""
        with torch.no_grad():
            before = self.look(self.base[0], noise, *conditions)
        return self.look(self.network, noise, *conditions) - before


class Tokens(nn.Module):
    """A small transformer of its own over the low frequencies of the noise, with cross-attention to the text.

    The noise is cut to its `grid` x `grid` lowest frequencies by an orthonormal map, and the result goes back by its
    transpose, so what it adds lives in that subspace (as in LENS, arXiv:2605.07253). A grid as large as the noise
    leaves nothing out: the stand-alone form.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        text_width: int,
        *,
        grid: int,
        width: int = 96,
        depth: int = 1,
        heads: int = 4,
    ) -> None:
        """Raises ValueError for a grid that is larger than the noise."""
        super().__init__()
        channels, height, breadth = shape
        self.lowpass = Lowpass(grid, height, breadth)
        self.enter = nn.Linear(channels, width)
        self.place = nn.Parameter(torch.randn(grid * grid, width, generator=torch.Generator().manual_seed(0)) * 0.02)
        self.read = nn.Linear(text_width, width)
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, depth, nn.LayerNorm(width))
        self.leave = nn.Linear(width, channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, noise: Tensor, text: Tensor, *others: Tensor) -> Tensor:
        """[b, c, h, w]; pooled text and masks are not read."""
        low = self.lowpass(noise)
        tokens = self.enter(low.flatten(2).mT) + self.place
        added = self.leave(self.layers(tokens, self.read(text))).mT.view_as(low)
        return self.lowpass.back(added)


class Lowpass(nn.Module):
    """The `grid` x `grid` lowest frequencies of [b, c, h, w] by an orthonormal map, and the way back."""

    def __init__(self, grid: int, height: int, breadth: int) -> None:
        """Raises ValueError for a grid that is larger than the noise."""
        super().__init__()
        self.rows: Tensor
        self.columns: Tensor
        if not 1 <= grid <= min(height, breadth):
            raise ValueError(f"grid {grid} does not fit noise of {height}x{breadth}; take 1 to {min(height, breadth)}")
        self.register_buffer("rows", lowpass(grid, height), persistent=False)
        self.register_buffer("columns", lowpass(grid, breadth), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, grid, grid]."""
        return self.rows.to(x) @ x @ self.columns.to(x).T

    def back(self, low: Tensor) -> Tensor:
        """[b, c, h, w]."""
        return self.rows.to(low).T @ low @ self.columns.to(low)


def lowpass(kept: int, size: int) -> Tensor:
    """Orthonormal [kept, size]: the lowest DCT frequencies of a signal, drawn again on `kept` points."""
    return dct(kept).T @ dct(size)[:kept]


def dct(size: int) -> Tensor:
    """The orthonormal cosine transform [size, size], lowest frequency first."""
    n = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (n + 0.5) * n[:, None]) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


# --- the generator's own network with LoRA


def shared_copy(network: nn.Module) -> nn.Module:
    """A frozen copy over the same memory, in which layers can be replaced without the original noticing."""
    memo: dict[int, Tensor] = {id(buffer): buffer for buffer in network.buffers()}
    memo |= {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    return copy.deepcopy(network, memo)


def silence(network: nn.Module, name: str) -> None:
    """Replace a layer by one of its kind with zero weights; raises ValueError if it is no linear or convolution."""
    layer = dict(network.named_modules()).get(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise ValueError(f"the last layer {name!r} is {type(layer).__name__}; name a linear layer or a convolution")
    silent = copy.deepcopy(layer)
    for parameter in silent.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, silent)


def add_lora(network: nn.Module, rank: int, scaling: float) -> nn.Module:
    """LoRA in fp32 on every linear layer and ungrouped convolution (others would need groups that divide the rank)."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name, layer in network.named_modules() if suits(layer)]
    alpha: Any = scaling * rank  # annotated as an integer, and only ever divided by the rank
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights="gaussian", lora_dropout=0.0
    )
    adapted: Any = inject_adapter_in_model(config, network)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    return adapted


def fold(network: nn.Module) -> nn.Module:
    """A LowRank or Difference whose LoRA lies in weights of its own: as fast as the generator, and as large once more.

    For inference; other networks are returned as they are.
    """
    from peft.tuners.lora import LoraLayer

    if not isinstance(network, LowRank | Difference):
        return network
    whole: Any = shared_copy(network.network)
    for name, layer in list(whole.named_modules()):
        if isinstance(layer, LoraLayer):
            base: Any = layer.base_layer
            plain = copy.copy(base)
            plain._parameters = dict(base._parameters)
            weight = base.weight.float() + layer.get_delta_weight("default").float()
            plain.weight = nn.Parameter(weight.to(base.weight.dtype), requires_grad=False)
            parent, _, leaf = name.rpartition(".")
            setattr(whole.get_submodule(parent), leaf, plain)
    folded = copy.copy(network)
    folded._modules = {**network._modules, "network": whole}
    return folded.eval()


def suits(layer: nn.Module) -> bool:
    """Whether a layer takes LoRA."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """What training changes, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
