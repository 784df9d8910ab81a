"""ImageReward: its original tensors run in NumPy, against the network of transformers that they are translated to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from tests.builders import tiny_embedding as tiny
from verifiers.embedding.imagereward import MEAN, STD, ImageReward, from_original
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD

Array = np.ndarray[Any, np.dtype[np.float64]]


class Original:
    """The forward pass of the original, written from the papers: ViT, BERT with cross-attention, five linear layers."""

    def __init__(self, tensors: dict[str, torch.Tensor], activation: bool = False) -> None:
        self.w = {name: value.double().numpy() for name, value in tensors.items()}
        self.activation = activation

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x: Array, name: str, eps: float) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attend(self, q: Array, k: Array, v: Array) -> Array:
        heads = [np.split(part, part.shape[-1] // 64, axis=-1) for part in (q, k, v)]
        out = []
        for a, b, c in zip(*heads, strict=True):
            logits = a @ b.T / 8
            chance = np.exp(logits - logits.max(-1, keepdims=True))
            out.append(chance / chance.sum(-1, keepdims=True) @ c)
        return np.concatenate(out, -1)

    def encode(self, pixels: Array) -> Array:
        p = "blip.visual_encoder."
        kernel = self.w[p + "patch_embed.proj.weight"]
        side = kernel.shape[-1]
        patches = [
            (pixels[:, i : i + side, j : j + side] * kernel).sum((1, 2, 3)) + self.w[p + "patch_embed.proj.bias"]
            for i in range(0, pixels.shape[1], side)
            for j in range(0, pixels.shape[2], side)
        ]
        x = np.concatenate([self.w[p + "cls_token"][0], np.stack(patches)]) + self.w[p + "pos_embed"][0]
        for block in range(2):
            b = f"{p}blocks.{block}."
            q, k, v = np.split(self.linear(self.norm(x, b + "norm1", 1e-6), b + "attn.qkv"), 3, axis=-1)
            x = x + self.linear(self.attend(q, k, v), b + "attn.proj")
            x = x + self.linear(gelu(self.linear(self.norm(x, b + "norm2", 1e-6), b + "mlp.fc1")), b + "mlp.fc2")
        return self.norm(x, p + "norm", 1e-6)

    def read(self, ids: list[int], seen: Array) -> Array:
        p = "blip.text_encoder."
        x = self.w[p + "embeddings.word_embeddings.weight"][ids]
        x = x + self.w[p + "embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x, p + "embeddings.LayerNorm", 1e-12)
        for layer in range(2):
            b = f"{p}encoder.layer.{layer}."
            for kind, other in (("attention", None), ("crossattention", seen)):
                y = x if other is None else other
                q, k, v = (self.linear(z, f"{b}{kind}.self.{n}") for z, n in ((x, "query"), (y, "key"), (y, "value")))
                mixed = self.linear(self.attend(q, k, v), f"{b}{kind}.output.dense")
                x = self.norm(mixed + x, f"{b}{kind}.output.LayerNorm", 1e-12)
            inner = self.linear(gelu(self.linear(x, b + "intermediate.dense")), b + "output.dense")
            x = self.norm(inner + x, b + "output.LayerNorm", 1e-12)
        return x[0]

    def __call__(self, pixels: Array, ids: list[int]) -> float:
        x = self.read(ids, self.encode(pixels))
        for place in (0, 2, 4, 6, 7):
            x = self.linear(x, f"mlp.layers.{place}")
            x = np.maximum(x, 0) if self.activation and place < 7 else x
        return float((x[0] - MEAN) / STD)


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def original() -> dict[str, torch.Tensor]:
    """Tiny tensors in the original layout; the image encoder has two heads of 64, the text encoder two as well."""
    return tiny.imagereward(vision=128, text=128)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> ImageReward:
    folder, bert = (tmp_path_factory.mktemp(name) for name in ("imagereward", "bert"))
    return ImageReward.load(tiny.write(from_original(original()), folder, tokenizer=str(tiny.bert_tokenizer(bert))))


def test_the_score_is_that_of_the_original_without_activations_in_the_head(verifier: ImageReward) -> None:
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    mean, std = (np.array(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    pixels = (x.double().numpy() - mean) / std
    prompts = ["abc", "abcdef gh", "k"]
    ids = [verifier.tokenizer(prompt)["input_ids"] for prompt in prompts]
    assert [row[0] for row in ids] == [verifier.tokenizer.cls_token_id] * 3  # the plain start, as in the original
    run, wrong = Original(original()), Original(original(), activation=True)
    expected = [run(picture, row) for picture, row in zip(pixels, ids, strict=True)]
    np.testing.assert_allclose(verifier(x, prompts).total.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert abs(wrong(pixels[0], ids[0]) - expected[0]) > 0.01
    assert np.std(expected) > 1e-3


def test_the_published_layout_is_translated_whole() -> None:
    """ViT-L/16 at 224 and BERT-base with 30524 words, as shapes only."""
    tensors = tiny.imagereward(vision=1024, text=768, words=30524, device="meta")
    found = from_original(tensors)
    assert sum(value.numel() for value in found.tensors.values()) == pytest.approx(446e6, rel=2e-3)
    assert found.settings["vision"] | {"hidden_size": 0} == {
        "hidden_size": 0, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6,
    }  # fmt: skip
    assert found.settings["text"] | {"hidden_size": 0} == {
        "hidden_size": 0, "vocab_size": 30524, "encoder_hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "gone",
    [
        "blip.visual_encoder.blocks.1.norm1.weight",
        "blip.visual_encoder.pos_embed",
        "blip.text_encoder.encoder.layer.0.crossattention.self.key.weight",
        "mlp.layers.2.bias",
    ],
)
def test_missing_tensors_are_refused(gone: str) -> None:
    with pytest.raises(ValueError, match="as in ImageReward.pt") as caught:
        from_original({name: value for name, value in original().items() if name != gone})
    assert "\n" not in str(caught.value)


def test_unknown_tensors_and_other_shapes_are_refused() -> None:
    for name in ("blip.itm_head.weight", "blip.visual_encoder.blocks.0.extra", "blip.text_encoder.pooler.dense.weight"):
        with pytest.raises(ValueError, match=r"the file has the shape \[3\], the network no such tensor"):
            from_original(original() | {name: torch.zeros(3)})
    with pytest.raises(ValueError, match=r"'vision.encoder.layers.0.mlp.fc1.bias' is not as in ImageReward.pt"):
        from_original(original() | {"blip.visual_encoder.blocks.0.mlp.fc1.bias": torch.zeros(3)})
    with pytest.raises(ValueError, match="the file has no 'patch_embed.proj.weight' as in ImageReward.pt"):
        from_original({"weight": torch.zeros(3)})


def test_a_prompt_is_read_to_35_tokens(verifier: ImageReward) -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with pytest.warns(UserWarning, match="reads 35 tokens and this prompt has 42"):
        long = verifier(x, ["a " * 40]).total
    assert torch.equal(long, verifier(x, ["a " * 33]).total)
    assert verifier.text_features("a").shape == (2, 35)


def test_pickles_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`gensearch convert imagereward ImageReward.pt FOLDER`"):
        ImageReward.load(tmp_path / "ImageReward.pt")
