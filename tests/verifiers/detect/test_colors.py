from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from verifiers.detect.colors import TEMPLATES, ClipColors, cut_out, require_quick_gelu, resized
from verifiers.detect.geneval import Detection
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.preprocess import Preprocess


@pytest.fixture(scope="module")
def clip():
    """A tiny random CLIP."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = open_clip.CLIP(8, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text), quick_gelu=True)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return CLIPScore(model, open_clip.SimpleTokenizer(context_length=16), Preprocess(size=32), batch_size=4)


def theirs(size: int):
    """open_clip's own way from a PIL picture to the input of the network."""
    return open_clip.image_transform(size, is_train=False, interpolation="bicubic", resize_mode="shortest")


def picture(height: int = 40, width: int = 60):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cut(*args):
    return cut_out(*args)


def thing(box, mask=None):
    return Detection(box, 0.9, mask)


def test_the_colour_has_the_highest_cosine_with_the_mean_of_its_texts(clip):
    classify = ClipColors(clip)
    boxes = [
        (x, y, x + w, y + h)
        for x, y, w, h in (
            (0, 0, 32, 32),
            (10, 5, 20, 30),
            (30, 2, 29, 12),
            (1, 1, 8, 8),
            (41, 21, 9, 9),
            (50, 30, 9, 9),
        )
    ]
    image = np.kron(picture(4, 6), np.ones((10, 10, 1), np.uint8))
    names = classify(image, "cup", [thing(box) for box in boxes])
    unit = lambda x: x / np.linalg.norm(x)  # noqa: E731
    for box, name in zip(boxes, names, strict=True):
        crop = theirs(32)(Image.fromarray(image).crop(box))[None]
        with torch.no_grad():
            seen = unit(clip.model.encode_image(crop)[0].double().numpy())
            texts = [[t.format(color=color, name="cup") for t in TEMPLATES] for color in classify.colors]
            read = [
                [unit(clip.model.encode_text(clip.tokenizer([t]))[0].double().numpy()) for t in row] for row in texts
            ]
        cosines = [seen @ unit(np.mean(row, 0)) for row in read]
        assert name == classify.colors[int(np.argmax(cosines))]
    assert len(set(names)) > 1


def test_only_the_pixels_of_the_object_count(clip):
    classify = ClipColors(clip)
    mask = np.zeros((40, 60), bool)
    mask[8:30, 10:25] = True
    inside = np.where(mask[..., None], picture(), 255 - picture())
    box = (10.0, 8.0, 25.0, 30.0)
    assert np.array_equal(cut(inside, thing(box, mask)), cut(picture(), thing(box, mask)))
    wider = (5.0, 5.0, 30.0, 35.0)
    crop = cut(picture(), thing(wider, mask))
    assert crop.shape == (30, 25, 3)
    assert (crop[:3] == 0x99).all()
    assert np.array_equal(crop[3:25, 5:20], picture()[8:30, 10:25])
    assert classify(inside, "cup", [thing(wider, mask)]) == classify(picture(), "cup", [thing(wider, mask)])


def test_edges_are_rounded_and_an_empty_box_has_no_colour(clip):
    assert np.array_equal(cut(picture(), thing((1.6, 2.4, 9.5, 7.6))), picture()[2:8, 2:10])
    assert cut(picture(), thing((3.1, 2, 3.4, 9))) is None
    assert ClipColors(clip)(picture(), "cup", [thing((3.1, 2, 3.4, 9))]) == [None]
    assert cut(picture(), thing((-3.0, -2.0, 70, 90))).shape == (40, 60, 3)


@pytest.mark.parametrize("shape", [(40, 60), (61, 33), (32, 32), (200, 31), (5, 90), (33, 34)])
def test_objects_reach_the_network_as_by_open_clip(shape):
    crop, preprocess = picture(*shape), Preprocess(size=32)
    mine = preprocess(resized(crop, preprocess))[0]
    assert torch.allclose(mine, theirs(32)(Image.fromarray(crop)), atol=1e-5)


def test_a_network_with_another_activation_is_refused(clip):
    require_quick_gelu(clip.model)
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    plain = open_clip.CLIP(8, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text))
    with pytest.raises(
        ValueError, match="was built with GELU, its weights were trained with QuickGELU; load ViT-L-14-q"
    ):
        require_quick_gelu(plain)
    plain.visual = clip.model.visual
    with pytest.raises(ValueError, match="was built with GELU and QuickGELU"):
        require_quick_gelu(plain)
