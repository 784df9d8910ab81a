"""Residual noise networks f(x0, prompt): zero before training; the generator itself never changes.

All are called with noise [b, c, h, w] and the conditions of the generator, of which text features [b, length, width]
come first, and return the shift of the noise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hypernoise.lora import add_lora, shared_copy, zero_layer

Look = Callable[..., Tensor]  # (network, noise, *conditions) -> output of the network on pure noise


class LowRank(nn.Module):
    """The denoiser of the generator with LoRA, and with zeros for the base weights of its last layer.

    HyperNoise, Eyring et al. 2025, arXiv:2508.09968. The other base weights are shared with the generator and frozen.
    The generator itself has no adapter that would have to be switched.

    Args:
        network: the denoiser.
        look: calls such a network on pure noise.
        rank: of LoRA, at least 1.
        scaling: factor of what LoRA adds; alpha / rank in peft's terms.
        last: the name of the last layer within the denoiser.
        only: restricts the output to low frequencies (the subspace form, for low ranks).

    Raises:
        ValueError: if `last` is neither a linear layer nor a convolution.
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
        zero_layer(adapted, last)
        self.network = add_lora(adapted, rank, scaling)
        self.look = look
        self.only = only

    def forward(self, noise: Tensor, *conditions: Tensor) -> Tensor:
        """Return the shift [b, c, h, w].

        Args:
            noise: standard normal [b, c, h, w].
            *conditions: of the generator, text features first.
        """
        shift = self.look(self.network, noise, *conditions)
        return self.only.back(self.only(shift)) if self.only else shift


class Difference(nn.Module):
    """The output of the denoiser with LoRA minus its output without, at the cost of one more network pass.

    Args:
        network: the denoiser.
        look: calls such a network on pure noise.
        rank: of LoRA, at least 1.
        scaling: factor of what LoRA adds.
    """

    def __init__(self, network: nn.Module, look: Look, *, rank: int = 128, scaling: float = 2.0) -> None:
        super().__init__()
        self.network = add_lora(shared_copy(network), rank, scaling)
        self.base = [network]  # in a list: not a part of this module
        self.look = look

    def forward(self, noise: Tensor, *conditions: Tensor) -> Tensor:
        """Return the shift [b, c, h, w].

        Args:
            noise: standard normal [b, c, h, w].
            *conditions: of the generator, text features first.
        """
        with torch.no_grad():
            before = self.look(self.base[0], noise, *conditions)
        return self.look(self.network, noise, *conditions) - before


class Tokens(nn.Module):
    """A small transformer on the low frequencies of the noise, with cross-attention to the text features.

    An orthonormal map reduces the noise to its `grid` x `grid` lowest frequencies, and its transpose maps the result
    back, so the shift lies in that subspace (LENS, arXiv:2605.07253). With a grid as large as the noise it is the
    stand-alone form.

    Args:
        shape: channels, height and width of the noise.
        text_width: width of the text features.
        grid: frequencies along each side, from 1 to the shorter side of the noise.
        width: of the transformer, divisible by `heads`.
        depth: number of layers, at least 1.
        heads: attention heads, at least 1.

    Raises:
        ValueError: for a grid that is larger than the noise.
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
        """Return the shift [b, c, h, w].

        Args:
            noise: standard normal [b, c, h, w].
            text: features [b, length, width].
            *others: pooled text features and masks, which are ignored.
        """
        low = self.lowpass(noise)
        tokens = self.enter(low.flatten(2).mT) + self.place
        added = self.leave(self.layers(tokens, self.read(text))).mT.view_as(low)
        return self.lowpass.back(added)


class Lowpass(nn.Module):
    """The orthonormal map to the `grid` x `grid` lowest frequencies, and its transpose.

    Args:
        grid: frequencies along each side, from 1 to the shorter side of the noise.
        height: of the noise.
        breadth: of the noise.

    Raises:
        ValueError: for a grid that is larger than the noise.
    """

    def __init__(self, grid: int, height: int, breadth: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.columns: Tensor
        if not 1 <= grid <= min(height, breadth):
            raise ValueError(f"grid {grid} does not fit noise of {height}x{breadth}; take 1 to {min(height, breadth)}")
        self.register_buffer("rows", lowpass(grid, height), persistent=False)
        self.register_buffer("columns", lowpass(grid, breadth), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the low frequencies [b, c, grid, grid].

        Args:
            x: [b, c, h, w].
        """
        return self.rows.to(x) @ x @ self.columns.to(x).T

    def back(self, low: Tensor) -> Tensor:
        """Return the signal [b, c, h, w] with these low frequencies and no others.

        Args:
            low: [b, c, grid, grid].
        """
        return self.rows.to(low).T @ low @ self.columns.to(low)


def lowpass(kept: int, size: int) -> Tensor:
    """Return the orthonormal map [kept, size] to a signal of `kept` points with the lowest DCT frequencies.

    Args:
        kept: points of the result, from 1 to `size`.
        size: points of the signal.
    """
    return dct(kept).T @ dct(size)[:kept]


def dct(size: int) -> Tensor:
    """Return the orthonormal discrete cosine transform [size, size], lowest frequency first.

    Args:
        size: points of the signal, at least 1.
    """
    n = torch.arange(size, dtype=torch.float64)
    basis: Tensor = torch.cos(math.pi / size * (n + 0.5) * n[:, None]) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


def fold(network: nn.Module) -> nn.Module:
    """Merge LoRA into a copy of the weights, for inference: as fast as the denoiser, for the memory of a second one.

    Args:
        network: a LowRank or Difference; other networks are returned as they are.
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


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name.

    Args:
        network: any module.
    """
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def copy_trained(network: nn.Module, source: nn.Module) -> None:
    """Copy the trained parameters of a network into another one.

    Args:
        network: changed in place.
        source: of the same form.

    Raises:
        ValueError: for another form.
    """
    given, own = trainable(source), trainable(network)
    if {name: p.shape for name, p in given.items()} != {name: p.shape for name, p in own.items()}:
        raise ValueError("`start` is a hypernetwork of another form; give `form` the settings in its manifest")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(given[name])
