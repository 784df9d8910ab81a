"""LAION's aesthetic predictors on a tiny random CLIP of transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import tiny_embedding as tiny
from verifiers.embedding.aesthetic import Aesthetic, from_original
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD

SINGLE = {"weight": torch.randn(1, 12, generator=torch.Generator().manual_seed(1)), "bias": torch.tensor([5.0])}


def build(path: Path, weights: dict[str, Tensor], activation: str = "quick_gelu", **options: int) -> Aesthetic:
    for name in ("body", "head"):
        (path / name).mkdir()
    body = tiny.clip(path / "body", activation, **options)
    return Aesthetic.load(tiny.write(from_original(weights), path / "head", body=str(body)))


@pytest.mark.parametrize("weights", [tiny.head(12), SINGLE], ids=["improved", "first"])
def test_it_is_linear_layers_on_the_normalised_embedding(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    verifier = build(tmp_path, weights)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        embedding = verifier.model.body(pixel_values=(x - mean) / std).image_embeds.double().numpy()

    def by_hand(y: np.ndarray) -> np.ndarray:
        for name in [name for name in weights if name.endswith("weight")]:
            y = y @ weights[name].double().numpy().T + weights[name.replace("weight", "bias")].double().numpy()
        return y[:, 0]

    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    scores = verifier(x, tiny.PROMPTS).total
    np.testing.assert_allclose(scores.numpy(), by_hand(embedding / norms), rtol=1e-4, atol=1e-5)
    assert np.abs(by_hand(embedding) - by_hand(embedding / norms)).max() > 0.01
    assert torch.equal(scores, verifier(x, ["anything"] * 4).total)


def test_the_clip_has_quickgelu_and_fits_the_head(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="needs a CLIP with QuickGELU and embeddings of 12 numbers, not 'gelu' and 12"):
        build(tmp_path / "a", tiny.head(12), "gelu")
    with pytest.raises(ValueError, match="embeddings of 12 numbers, not 'quick_gelu' and 16; set `body` to openai/"):
        build(tmp_path / "b", tiny.head(12), projection=16)


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"layers.0.weight": torch.zeros(1, 12)},
        {"layers.0.weight": torch.zeros(2, 12), "layers.0.bias": torch.zeros(2)},
        {**tiny.head(12), "layers.2.weight": torch.zeros(16, 21)},
        {**tiny.head(12), "layers.2.bias": torch.zeros(15)},
        {**tiny.head(12), "layers.2.running_mean": torch.zeros(16)},
        {**tiny.head(12), "layers.2.weight": torch.zeros(16)},
        {"state": torch.zeros(3)},
    ],
)
def test_other_tensors_are_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"as in sac\+logos\+ava1-l14-linearMSE.pth; give the original file") as caught:
        from_original(weights)
    assert "\n" not in str(caught.value)


def test_the_published_sizes_are_taken() -> None:
    weights = tiny.head(768, sizes=(1024, 128, 64, 16, 1))
    assert [tuple(v.shape) for k, v in from_original(weights).tensors.items() if k.endswith("weight")] == [
        (1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16)
    ]  # fmt: skip


def test_pickles_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`gensearch convert aesthetic sac\+logos\+ava1-l14-linearMSE.pth FOLDER`"):
        Aesthetic.load(tmp_path / "sac+logos+ava1-l14-linearMSE.pth")
