"""Depth maps of a tiny random DPT against the network's own output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tests.builders.tiny_blip import dpt
from verifiers.detect.depth import Depth
from verifiers.embedding.preprocess import Preprocess

PICTURE = torch.rand(3, 48, 80, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_a_map_is_stretched_to_eight_bits():
    model = dpt()
    found = Depth(model, Preprocess(32, squash=True))(PICTURE)
    raw = model(pixel_values=Preprocess(32, squash=True)(PICTURE[None])).predicted_depth
    wide = interpolate(raw[None], (48, 80), mode="bicubic", align_corners=False)[0, 0].numpy()
    wanted = (wide - wide.min()) / (wide.max() - wide.min()) * 255
    assert found.shape == (48, 80)
    assert found.dtype == np.uint8
    assert np.abs(found - wanted).max() <= 0.51
    assert (found.min(), found.max()) == (0, 255)
    assert np.array_equal(found.argmax(), wide.argmax())


def test_a_flat_map_is_zero():
    model = dpt()
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.zero_()
    assert Depth(model, Preprocess(32, squash=True))(PICTURE).max() == 0


@pytest.mark.parametrize("side", [0, 48])
def test_it_loads_from_a_folder(tmp_path, side):
    from transformers import DPTImageProcessor

    dpt().save_pretrained(tmp_path)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    DPTImageProcessor(size={"height": 32, "width": 32}, image_mean=mean, image_std=std).save_pretrained(tmp_path)
    found = Depth.load(str(tmp_path), side=side)
    assert found.preprocess == Preprocess(side or 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), squash=True)
    assert found(PICTURE).shape == (48, 80)
