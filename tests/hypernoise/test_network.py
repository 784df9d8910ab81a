"""Noise networks: zero at the start, alive in the right order, and beside a generator that never notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from gensearch.testing.witness import weights_of
from hypernoise.lora import shared_copy, takes_lora
from hypernoise.network import Difference, Lowpass, LowRank, Tokens, dct, lowpass, trainable
from tests.builders import tiny

SHAPE = (4, 8, 8)


@pytest.fixture
def unet() -> Iterator[UNet2DConditionModel]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield tiny.unet(4, cross_attention_dim=12)


def look(network: nn.Module, noise: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return network(noise, 999, text).sample


def inputs(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *SHAPE, generator=generator), torch.randn(2, 5, 12, generator=generator)


def build(form: str, unet: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if form == "low rank":
            return LowRank(unet, look, rank=4, last="conv_out")
        if form == "low rank, low frequencies":
            return LowRank(unet, look, rank=2, last="conv_out", only=Lowpass(3, 8, 8))
        if form == "difference":
            return Difference(unet, look, rank=4)
        return Tokens(SHAPE, 12, grid=8 if form == "stand-alone" else 3, width=16)


FORMS = ["low rank", "low rank, low frequencies", "difference", "stand-alone", "subspace"]


@pytest.mark.parametrize("form", FORMS)
def test_it_adds_nothing_before_training(form, unet):
    noise, text = inputs()
    assert torch.equal(build(form, unet)(noise, text), torch.zeros_like(noise))


@pytest.mark.parametrize("form", FORMS)
def test_training_moves_it_and_never_the_generator(form, unet):
    noise, text = inputs()
    before, picture = weights_of({"unet": unet}), look(unet, noise, text)
    network = build(form, unet)
    sgd = torch.optim.SGD(trainable(network).values(), lr=0.1)
    for _ in range(4):
        sgd.zero_grad()
        (network(noise, text) - 1).square().mean().backward()
        sgd.step()
    assert network(noise, text).abs().max() > 1e-4
    assert weights_of({"unet": unet}) == before
    assert torch.equal(look(unet, noise, text), picture)
    assert all(parameter.requires_grad for parameter in unet.parameters()), "the generator's own flags changed"


def test_low_rank_comes_alive_from_its_last_layer_upwards(unet):
    """With A random and every B zero, gradients reach the last B first, then all B, then everything."""
    noise, text = inputs()
    network = build("low rank", unet)
    sgd = torch.optim.SGD(trainable(network).values(), lr=0.1)
    alive = []
    for _ in range(3):
        sgd.zero_grad()
        (network(noise, text) - 1).square().mean().backward()
        alive.append({n for n, p in trainable(network).items() if p.grad is not None and p.grad.abs().max() > 0})
        sgd.step()
    assert {name.split(".lora_")[0].split(".")[-1] for name in alive[0]} == {"conv_out"}
    assert all("lora_B" in name for name in alive[0])
    assert all("lora_B" in name or "conv_out" in name for name in alive[1])
    assert len(alive[1]) > len(alive[0])
    assert alive[2] == set(trainable(network))


def test_adapters_are_fp32_also_on_a_half_precision_generator(unet):
    network = LowRank(unet.half(), look, rank=2, last="conv_out")
    assert {p.dtype for p in trainable(network).values()} == {torch.float32}
    assert {p.dtype for p in unet.parameters()} == {torch.float16}


@pytest.mark.parametrize(("rank", "scaling"), [(4, 0.2), (3, 0.5), (8, 2.0)])
def test_lora_is_scaled_as_asked(unet, rank, scaling):
    """The only layer that speaks at first is the last one: its down- and up-projection, times the scaling."""
    network = LowRank(unet, look, rank=rank, scaling=scaling, last="conv_out")
    seen: list[torch.Tensor] = []
    last: Any = network.network.conv_out
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    nn.init.normal_(last.lora_B["default"].weight, generator=torch.Generator().manual_seed(1))
    said = network(*inputs())
    expected = scaling * last.lora_B["default"](last.lora_A["default"](seen[0]))
    assert said.abs().max() > 0.01
    assert torch.allclose(said, expected, rtol=1e-5, atol=1e-6)


def test_a_shared_copy_takes_no_memory_of_its_own(unet):
    copied = shared_copy(unet)
    theirs = {p.data_ptr() for p in unet.parameters()}
    assert {p.data_ptr() for p in copied.parameters()} == theirs
    assert not any(p.requires_grad for p in copied.parameters())


def test_grouped_convolutions_are_left_out():
    assert takes_lora(nn.Conv2d(8, 8, 3))
    assert not takes_lora(nn.Conv2d(8, 8, 3, groups=8))


def test_a_last_layer_that_is_none_is_refused(unet):
    with pytest.raises(ValueError, match="'conv_norm_out' is GroupNorm"):
        LowRank(unet, look, last="conv_norm_out")


@pytest.mark.parametrize(("kept", "size"), [(1, 5), (3, 8), (8, 8)])
def test_the_way_to_low_frequencies_and_back_is_a_projection(kept, size):
    down = lowpass(kept, size)
    assert torch.allclose(down @ down.T, torch.eye(kept), atol=1e-6)
    assert torch.allclose(dct(size) @ dct(size).T, torch.eye(size), atol=1e-6)
    smooth = torch.ones(size)
    assert torch.allclose(down.T @ (down @ smooth), smooth, atol=1e-5)
    if kept == size:
        assert torch.allclose(down, torch.eye(size), atol=1e-6)


@pytest.mark.parametrize("form", ["subspace", "low rank, low frequencies"])
def test_a_subspace_form_stays_in_its_subspace(form, unet):
    noise, text = inputs()
    network: Any = build(form, unet)
    leaves = [network.leave.weight] if form == "subspace" else list(trainable(network).values())
    for leaf in leaves:
        nn.init.normal_(leaf, generator=torch.Generator().manual_seed(2))
    added = network(noise, text)
    spectrum = dct(8) @ added @ dct(8).T
    assert added.abs().max() > 0.1
    assert spectrum[..., 3:, :].abs().max() < 1e-5 * spectrum.abs().max()
    assert spectrum[..., :, 3:].abs().max() < 1e-5 * spectrum.abs().max()
    assert not torch.allclose(added, network(noise, text.flip(0)), atol=1e-4), "the text does not matter"


def test_a_grid_larger_than_the_noise_is_refused():
    with pytest.raises(ValueError, match="grid 9 does not fit noise of 8x8; take 1 to 8"):
        Tokens(SHAPE, 12, grid=9)
