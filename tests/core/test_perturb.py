"""Small changes: shapes, ranges, determinism, independence of the batch, NaN, and that they are small."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from gensearch.core.noise import randn
from gensearch.core.perturb import KINDS, perturbed

kinds = pytest.mark.parametrize("kind", KINDS)


def smooth(shape):
    small = torch.rand((shape[0], 3, 4, 4), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, shape[-2:], mode="bilinear")


@kinds
@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 37, 53), (2, 3, 9, 8)])
def test_pictures_of_any_size_change_a_little(kind, shape):
    media = smooth(shape)
    changed = perturbed(media, kind)
    assert changed.shape == media.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, media)
    assert (changed - media).abs().mean() < 0.05 + 1 / min(shape[-2:])  # at least a pixel, of however few


@kinds
def test_the_same_change_for_every_row_and_whatever_the_batch(kind):
    media = smooth((4, 3, 32, 32))
    together = perturbed(media, kind, 3)
    assert torch.equal(together, torch.cat([perturbed(row[None], kind, 3) for row in media]))
    assert torch.equal(perturbed(media[[1] * 4], kind, 3), together[[1] * 4])
    seeds = [perturbed(media, kind, seed) for seed in range(12)]
    assert any(not torch.equal(seeds[0], other) for other in seeds[1:])


@kinds
def test_every_frame_of_a_clip_changes_alike(kind):
    frames = smooth((6, 3, 16, 16))
    assert torch.equal(perturbed(frames.view(2, 3, 3, 16, 16), kind).flatten(0, 1), perturbed(frames, kind))


@kinds
def test_broken_pictures_stay_broken_alone(kind):
    media = smooth((2, 3, 16, 16))
    media[0, 0] = torch.nan
    changed = perturbed(media, kind)
    assert changed[0].isnan().any()
    assert torch.equal(changed[1], perturbed(media[1:], kind)[0])


@kinds
def test_no_global_generator_and_no_graph(kind):
    before = torch.get_rng_state()
    changed = perturbed(smooth((1, 3, 16, 16)).requires_grad_(), kind)
    assert torch.equal(torch.get_rng_state(), before)
    assert not changed.requires_grad


def test_shift_repeats_the_edge():
    media = torch.arange(100.0).view(1, 1, 10, 10).expand(1, 3, 10, 10) / 100
    found = {
        tuple((perturbed(media, "shift", seed)[0, 0, 5, 5] * 100).round().long().view(1).tolist()) for seed in range(40)
    }
    assert found == {(44,), (46,), (64,), (66,)}
    assert perturbed(torch.ones(1, 3, 8, 8), "shift").eq(1).all()


def test_noise_has_its_spread_and_jpeg_is_that_of_pillow():
    grey = torch.full((1, 3, 64, 64), 0.5)
    assert (perturbed(grey, "noise") - grey).std() == pytest.approx(0.02, rel=0.03)
    media = (randn([1], (3, 16, 16)) * 0.2 + 0.5).clamp(0, 1)
    found = (perturbed(media, "jpeg")[0].permute(1, 2, 0) * 255).round().byte().numpy()
    expected = []
    for quality in range(76, 86):
        file = BytesIO()
        Image.fromarray((media[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        expected.append(np.asarray(Image.open(file)))
    assert any(np.array_equal(found, each) for each in expected)


def test_an_unknown_change_is_refused():
    with pytest.raises(ValueError, match="'blur'; take one of shift, crop, noise, jpeg"):
        perturbed(torch.zeros(1, 3, 8, 8), "blur")
