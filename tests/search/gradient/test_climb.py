"""Activation checkpointing: the same gradients and the same account, and every network left as it was found."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.engine.run import run
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.search import SEARCHES
from gensearch.search.gradient.climb import climb, recomputing
from tests.builders import tiny
from verifiers.combine import Term, WeightedSum
from verifiers.controls.redness import Redness
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.preprocess import Preprocess

PROMPTS = ["a red star", "a blue cat"]


class Words:
    """A tokenizer for the tiny CLIP."""

    context_length = 8

    def __call__(self, prompts: list[str]) -> torch.Tensor:
        return torch.tensor(
            [[1 + len(word) % 30 for word in f"{prompt} a b c d e f g h".split()[:8]] for prompt in prompts]
        )

    def encode(self, prompt: str) -> list[int]:
        return prompt.split()  # type: ignore[return-value]


@pytest.fixture
def verifier() -> WeightedSum:
    vision = {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 32, "width": 8, "heads": 2, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text)
    clip = CLIPScore(network, Words(), Preprocess(16, (0.5,) * 3, (0.5,) * 3, "bicubic"), batch_size=2)
    return WeightedSum(Term(clip), Term(Redness(), 0.5))


@pytest.fixture
def model() -> StableDiffusion:
    model = StableDiffusion(tiny.stable_diffusion(), steps=2, guidance_scale=0, batch_size=2)
    for network in (model.pipeline.unet, model.pipeline.vae):
        network.requires_grad_(False)
    return model


class Calls:
    """How often some modules ran."""

    def __init__(self, **modules: nn.Module) -> None:
        self.seen = dict.fromkeys(modules, 0)
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self.count(name))

    def count(self, name: str) -> None:
        self.seen[name] += 1


def slope(model: Any, verifier: Any, checkpointing: bool) -> torch.Tensor:
    recipes = [(("gaussian", seed),) for seed in (1, 2)]
    found = climb(model, verifier, PROMPTS, [randn([1, 2], model.noise_shape)], recipes, checkpointing)
    return found.slope(model, Ledger())[0]


def test_checkpointing_recomputes_and_changes_no_gradient(model, verifier):
    unet, tower = model.pipeline.unet, verifier.terms[0].verifier.model.visual
    block, layer = unet.down_blocks[1].resnets[0], tower.transformer.resblocks[0]
    calls = Calls(unet=unet, block=block, layer=layer, decoder=model.pipeline.vae.decoder.mid_block)
    plain = slope(model, verifier, False)
    once = dict(calls.seen)
    again = slope(model, verifier, True)
    twice = {name: count - once[name] for name, count in calls.seen.items()}
    assert plain.abs().max() > 1e-6
    assert (plain - again).abs().max() < 1e-5 * plain.abs().max()
    assert once == {"unet": 2, "block": 2, "layer": 1, "decoder": 1}
    assert twice == {"unet": 2, "block": 4, "layer": 2, "decoder": 2}, "the whole network runs once, its parts twice"


def test_networks_are_left_as_they_were_found(model, verifier):
    unet, vae = model.pipeline.unet, model.pipeline.vae
    vae.enable_gradient_checkpointing()
    with pytest.raises(ZeroDivisionError), recomputing(model, verifier):
        _ = 1 / (not unet.is_gradient_checkpointing)
    assert not unet.is_gradient_checkpointing
    assert vae.is_gradient_checkpointing
    clip = verifier.terms[0].verifier.model
    assert not clip.visual.transformer.grad_checkpointing
    clip.set_grad_checkpointing(True)
    clip.transformer.grad_checkpointing = False
    with recomputing(model, verifier):
        assert clip.transformer.grad_checkpointing
    assert clip.visual.transformer.grad_checkpointing
    assert not clip.transformer.grad_checkpointing


@pytest.mark.parametrize("name", ["reno", "dno"])
def test_searches_find_the_same_with_it(model, verifier, name):
    plain, thrifty = (
        run(SEARCHES[name], model, verifier, PROMPTS[0], iterations=3, checkpointing=flag) for flag in (False, True)
    )
    assert plain.ledger.spent == thrifty.ledger.spent
    assert thrifty.best.score == pytest.approx(plain.best.score, rel=1e-4)
