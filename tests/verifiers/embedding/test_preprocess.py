"""The differentiable resize-crop-normalise against PIL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD, Preprocess


def smooth(height: int, width: int) -> np.ndarray:
    """A picture of slow waves, uint8 [h, w, 3]: no edge that bicubic would overshoot."""
    y, x = np.mgrid[:height, :width] / 40.0
    waves = np.stack([np.sin(x + 2 * y), np.cos(1.3 * x - y), np.sin(x * 0.7) * np.cos(y)], axis=-1)
    return (127.5 + 100 * waves).round().astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 131), (140, 75), (48, 33), (300, 210)])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_the_tensor_path_is_within_the_stated_tolerance_of_pil(height: int, width: int, mode: str) -> None:
    picture = smooth(height, width)
    pil = image_transform_v2(PreprocessCfg(size=64, resize_mode=mode), is_train=False)(Image.fromarray(picture))
    ours = Preprocess(64, squash=mode == "squash")(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0]
    scale = torch.tensor(CLIP_STD)[:, None, None]
    assert ours.shape == pil.shape
    assert ((ours - pil) * scale).abs().max() <= 1.5 / 255


def test_the_antialias_matters_for_that_tolerance() -> None:
    picture = np.random.default_rng(0).integers(90, 165, (160, 160, 3), dtype=np.uint8)
    pil = image_transform_v2(PreprocessCfg(size=32), is_train=False)(Image.fromarray(picture))
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    aliased = torch.nn.functional.interpolate(tensor, 32, mode="bicubic")[0]
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    assert ((Preprocess(32)(tensor)[0] - pil) * std).abs().max() <= 1.5 / 255
    assert (aliased - (pil * std + mean)).abs().max() > 10 / 255


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    out = Preprocess(16, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))(x)
    expected = torch.stack([(x[:, 0] - 0.5) / 0.5, x[:, 1] - 0.25, x[:, 2] / 2], dim=1)
    assert torch.allclose(out, expected, atol=1e-6)


def test_gradients_reach_the_crop_and_stop_outside_it() -> None:
    x = torch.full((1, 3, 8, 24), 0.5, dtype=torch.float64, requires_grad=True)
    Preprocess(8)(x).sum().backward()
    assert x.grad is not None
    assert (x.grad[..., 8:16] > 0).all()
    assert (x.grad[..., :8] == 0).all()
    assert (x.grad[..., 16:] == 0).all()
