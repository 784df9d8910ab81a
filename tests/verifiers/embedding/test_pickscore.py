"""PickScore on a tiny random CLIPModel of transformers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor

from tests.builders import tiny_embedding as tiny
from verifiers.embedding.dual_encoder import pooled
from verifiers.embedding.pickscore import PickScore
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD, Preprocess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.clip(tmp_path_factory.mktemp("pickscore"))


def pictures(count: int = 4, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def layer_norm(x: np.ndarray, layer: torch.nn.LayerNorm) -> np.ndarray:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + layer.eps) * layer.weight.double().numpy() + layer.bias.double().numpy()


@torch.no_grad()
def by_hand(model: transformers.CLIPModel, tokenizer: transformers.CLIPTokenizer, x: Tensor) -> np.ndarray:
    """exp(logit_scale) * cosine in NumPy, from hidden states: of the class token, and of the end of the prompt."""
    pixels = (x.double() - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
    seen = model.vision_model(pixel_values=pixels.float()).last_hidden_state[:, 0].double().numpy()
    image = layer_norm(seen, model.vision_model.post_layernorm) @ model.visual_projection.weight.double().numpy().T
    ends = []
    for prompt in tiny.PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        assert int(ids[0, -1]) == tokenizer.eos_token_id == int(ids.max())
        ends.append(model.text_model(input_ids=ids).last_hidden_state[0, -1].double().numpy())
    text = np.stack(ends) @ model.text_projection.weight.double().numpy().T
    cosine = (image * text).sum(1) / np.linalg.norm(image, axis=1) / np.linalg.norm(text, axis=1)
    return np.exp(float(model.logit_scale)) * cosine


@pytest.mark.parametrize("eos", [2, 55])
def test_the_score_is_the_scaled_cosine_also_with_the_legacy_end_of_text(tmp_path: Path, eos: int) -> None:
    """Configs such as PickScore's say that the end is token 2, which it is not; features are still those of the end."""
    folder = tiny.clip(tmp_path, eos=eos)
    assert transformers.AutoTokenizer.from_pretrained(folder).eos_token_id == 55
    verifier = PickScore.load(folder)
    assert verifier.model.config.text_config.eos_token_id == eos
    expected = by_hand(verifier.model, verifier.tokenizer, pictures())
    np.testing.assert_allclose(verifier(pictures(), tiny.PROMPTS).total.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


def test_the_activation_is_that_of_the_config(tmp_path: Path) -> None:
    for name in ("quick", "plain"):
        (tmp_path / name).mkdir()
    quick, plain = (
        PickScore.load(tiny.clip(tmp_path / name, activation)) for name, activation in
        (("quick", "quick_gelu"), ("plain", "gelu"))
    )  # fmt: skip
    assert quick.model.state_dict().keys() == plain.model.state_dict().keys()
    a, b = (verifier(pictures(), tiny.PROMPTS).total for verifier in (quick, plain))
    assert (a - b).abs().max() > 0.01
    np.testing.assert_allclose(a.numpy(), by_hand(quick.model, quick.tokenizer, pictures()), rtol=1e-4, atol=1e-4)


def test_outputs_of_transformers_4_and_5_give_the_same_features() -> None:
    features = torch.rand(2, 5)
    assert pooled(features) is features
    assert pooled(SimpleNamespace(pooler_output=features, last_hidden_state=None)) is features
    assert pooled(transformers.CLIPModel(transformers.CLIPConfig(
        text_config={"vocab_size": 60, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1},
        vision_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 32},
        projection_dim=6)).get_image_features(pixel_values=torch.rand(1, 3, 32, 32))).shape == (1, 6)  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 81), (83, 50)])
def test_the_pil_path_agrees(folder: Path, height: int, width: int) -> None:
    """Within 0.02 of about 10: PIL rounds to 8 bits after each pass."""
    verifier = PickScore.load(folder)
    y, x = np.mgrid[:height, :width] / 20.0
    picture = (127.5 + 100 * np.stack([np.sin(x + 2 * y), np.cos(x - y), np.sin(x) * np.cos(y)], -1)).round()
    pil = Image.fromarray(picture.astype(np.uint8))
    pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(pil, return_tensors="pt")["pixel_values"]
    ours = verifier.prepared(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    assert ((ours - pixels) * torch.tensor(CLIP_STD)[:, None, None]).abs().max() <= 1.5 / 255
    inputs = verifier.tokenizer(["a ring"], return_tensors="pt")
    with torch.no_grad():
        theirs = verifier.model(pixel_values=pixels, **inputs).logits_per_image[0, 0]
    media = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    assert abs(float(verifier(media, ["a ring"]).total) - float(theirs)) < 0.02


def test_a_prompt_that_does_not_fit_is_named(folder: Path) -> None:
    with pytest.warns(UserWarning, match="reads 40 tokens and this prompt has 42"):
        PickScore.load(folder)(pictures(1), ["x" * 40])


def test_the_processor_is_read_and_what_cannot_be_repeated_is_refused(tmp_path: Path, folder: Path) -> None:
    assert PickScore.load(folder).preprocess == Preprocess(32, CLIP_MEAN, CLIP_STD, "bicubic", floor=True)
    tiny.clip(tmp_path)
    transformers.CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}).save_pretrained(
        tmp_path
    )
    with pytest.raises(ValueError, match=r"cannot prepare pictures as CLIPImageProcessor.*; take a model with square"):
        PickScore.load(tmp_path)


def test_pickles_and_other_models_are_refused_in_one_line(tmp_path: Path, folder: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    pickled = tiny.clip(tmp_path / "a")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match="it has no safetensors, and pickles are not loaded") as caught:
        PickScore.load(pickled)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="it is a 'siglip', not a 'clip'"):
        PickScore.load(tiny.siglip(tmp_path / "b"))
