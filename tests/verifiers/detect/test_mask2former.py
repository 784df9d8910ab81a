from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.builders.tiny_detectors import mask2former
from verifiers.detect.classes import GENEVAL_CLASSES, RENAMED
from verifiers.detect.geneval import keep
from verifiers.detect.mask2former import (
    Mask2FormerDetector,
    Sizes,
    drawing,
    instances,
    prepared,
    require_order,
    sizes_of,
)

SQUARE = Sizes((32, 32), (32, 32), (32, 32))


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel: the value at the centre of each new pixel, between the four nearest centres."""
    out = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y, z = (i + 0.5) * x.shape[0] / height - 0.5, (j + 0.5) * x.shape[1] / width - 0.5
            y, z = max(y, 0.0), max(z, 0.0)
            top, left = min(int(y), x.shape[0] - 1), min(int(z), x.shape[1] - 1)
            bottom, right = min(top + 1, x.shape[0] - 1), min(left + 1, x.shape[1] - 1)
            a, b = y - top, z - left
            upper = x[top, left] * (1 - b) + x[top, right] * b
            lower = x[bottom, left] * (1 - b) + x[bottom, right] * b
            out[i, j] = upper * (1 - a) + lower * a
    return out


def reference(classes: np.ndarray, masks: np.ndarray, sizes: Sizes, top: int):
    """(class, score, box, mask) of the likeliest pairs, without torch."""
    chance = np.exp(classes - classes.max(1, keepdims=True))
    chance = (chance / chance.sum(1, keepdims=True))[:, :-1]
    pairs = sorted(((p, q, c) for q, row in enumerate(chance) for c, p in enumerate(row)), reverse=True)[:top]
    for p, q, c in pairs:
        whole = bilinear(masks[q], *sizes.padded)
        inner = bilinear(whole[: sizes.resized[0], : sizes.resized[1]], *sizes.original)
        places = [(i, j) for i in range(len(inner)) for j in range(len(inner[0])) if inner[i, j] > 0]
        if not places:
            yield c, 0.0, (0, 0, 0, 0), inner > 0
            continue
        certainty = sum(1 / (1 + np.exp(-inner[place])) for place in places) / (len(places) + 1e-6)
        rows, columns = [i for i, _ in places], [j for _, j in places]
        yield c, p * certainty, (min(columns), min(rows), max(columns) + 1, max(rows) + 1), inner > 0


@pytest.mark.parametrize("sizes", [SQUARE, Sizes((20, 37), (26, 48), (32, 64)), Sizes((41, 17), (58, 24), (64, 32))])
def test_post_processing_equals_a_slow_reference(sizes):
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(5, 4, generator=generator) * 2
    masks = torch.randn(5, sizes.padded[0] // 4, sizes.padded[1] // 4, generator=generator) * 3 - 1
    masks[3] = -5  # empty
    got = instances(classes, masks, sizes, top=9)
    expected = list(reference(classes.double().numpy(), masks.double().numpy(), sizes, 9))
    assert [index for index, _ in got] == [index for index, *_ in expected]
    for (_, detection), (_, score, box, mask) in zip(got, expected, strict=True):
        assert detection.score == pytest.approx(score, abs=1e-6)
        assert detection.box == box
        assert np.array_equal(np.asarray(detection.mask), mask)
    assert any(detection.score == 0 and detection.box == (0, 0, 0, 0) for _, detection in got)


def test_a_rectangle_gives_its_exact_exclusive_box():
    masks = torch.full((1, 32, 32), -10.0)
    masks[0, 5:12, 8:31] = 10
    classes = torch.tensor([[0.0, 3.0, 0.0]])
    (index, detection), *_ = instances(classes, masks, SQUARE)
    assert index == 1
    assert detection.box == (8, 5, 31, 12)
    assert np.asarray(detection.mask).sum() == 7 * 23
    chance = np.exp(3) / (np.exp(3) + 2)
    assert detection.score == pytest.approx(chance / (1 + np.exp(-10)) * (7 * 23) / (7 * 23 + 1e-6))


@pytest.mark.parametrize(("original", "resized"), [((30, 50), (38, 64)), ((50, 30), (64, 38))])
def test_padding_never_reaches_a_box(original, resized):
    sizes = Sizes(original, resized, (64, 64))
    logits = torch.full((64, 64), -10.0)
    logits[resized[0] + 1 :] = 10  # an object in the padding only
    logits[:, resized[1] + 1 :] = 10
    mask, certainty, box = drawing(logits, sizes)
    assert mask.shape == original
    assert not mask.any()
    assert (certainty, box) == (0, (0, 0, 0, 0))
    mask, _, box = drawing(torch.full((64, 64), 10.0), sizes)
    assert mask.all()
    assert box == (0, 0, original[1], original[0])


def test_a_query_may_appear_under_two_classes():
    masks = torch.full((1, 8, 8), 10.0)
    found = instances(torch.tensor([[2.0, 2.5, -9.0, 0.0]]), masks, SQUARE, top=2)
    assert [index for index, _ in found] == [1, 0]
    assert found[0][1].box == found[1][1].box


def test_no_object_is_never_found_and_the_likeliest_hundred_are_kept():
    classes = torch.randn(12, 81, generator=torch.Generator().manual_seed(0))
    classes[:, 80] = 50  # no object: the others have almost no chance, and come in their order all the same
    found = instances(classes, torch.full((12, 8, 8), 10.0), SQUARE)
    assert len(found) == 100
    assert max(detection.score for _, detection in found) < 1e-10
    assert all(index < 80 for index, _ in found)


def test_a_score_at_the_threshold_is_rejected():
    detector = Mask2FormerDetector(mask2former(), short=32, long=64)
    (_, detection), *_ = instances(torch.tensor([[0.0, 3.0]]), torch.full((1, 8, 8), 10.0), SQUARE)
    for tag in ("single_object", "counting"):
        for limit, kept in ((detection.score, []), (np.nextafter(detection.score, 0), [detection])):
            rules = replace(detector.rules, threshold=float(limit), counting_threshold=float(limit))
            assert keep({"cat": [detection]}, tag, rules) == {"cat": kept}


@pytest.mark.parametrize(
    ("height", "width", "resized", "padded"),
    [
        (512, 512, (800, 800), (800, 800)),
        (1024, 1024, (800, 800), (800, 800)),
        (480, 640, (800, 1067), (800, 1088)),
        (768, 1344, (762, 1333), (768, 1344)),
        (3000, 100, (1333, 44), (1344, 64)),
    ],
)
def test_pictures_are_resized_at_their_aspect_ratio_and_padded(height, width, resized, padded):
    assert sizes_of(height, width) == ((height, width), resized, padded)


def test_the_input_is_normalised_before_padding():
    image = np.full((10, 16, 3), (255, 0, 128), np.uint8)
    x = prepared(image, Sizes((10, 16), (20, 32), (32, 32)))
    assert x.shape == (1, 3, 32, 32)
    assert not x[:, :, 20:].any()
    expected = (np.array([1, 0, 128 / 255]) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    assert x[0, :, 3, 5].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_network_is_asked_with_this_input_and_classes_go_by_index():
    model = mask2former()
    detector = Mask2FormerDetector(model, short=64, long=96)
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    found = detector.detect(image)
    sizes = sizes_of(40, 70, 64, 96)
    with torch.no_grad():
        out = model(pixel_values=prepared(image, sizes), pixel_mask=torch.ones(1, *sizes.padded))
    expected = instances(out.class_queries_logits[0], out.masks_queries_logits[0], sizes)
    for index, name in enumerate(GENEVAL_CLASSES):
        assert found[name] == [detection for i, detection in expected if i == index]
    assert sum(map(len, found.values())) == 100


def test_the_names_are_those_of_coco_with_three_changes():
    assert len(set(GENEVAL_CLASSES)) == 80
    assert [GENEVAL_CLASSES.index(name) for name in RENAMED.values()] == [64, 65, 66]
    assert [GENEVAL_CLASSES[i] for i in (0, 17, 46, 57, 79)] == ["person", "horse", "banana", "couch", "toothbrush"]


def test_the_names_and_their_order_are_those_of_the_original_file():
    text = "".join(f"{name}\n" for name in GENEVAL_CLASSES)  # object_names.txt of GenEval
    digest = "608f6a0e5c8ca1c7a92b818430141fe268c85b7930b50f4160f1d65893b5bacd"
    assert digest in (hashlib.sha256(text.encode()).hexdigest(), hashlib.sha256(text[:-1].encode()).hexdigest())


def test_a_model_with_classes_in_another_order_is_refused():
    labels = {i: {name: old for old, name in RENAMED.items()}.get(name, name) for i, name in enumerate(GENEVAL_CLASSES)}
    require_order(labels, GENEVAL_CLASSES)
    require_order(labels | {4: "aeroplane", 62: "tvmonitor"}, GENEVAL_CLASSES)
    require_order({i: f"LABEL_{i}" for i in range(80)}, GENEVAL_CLASSES)
    with pytest.raises(ValueError, match="has 'mouse' as class 65 where COCO has it as 64"):
        require_order(labels | {64: "remote control", 65: "mouse"}, GENEVAL_CLASSES)
    model = mask2former()
    model.config.id2label = {**labels, 15: "dog", 16: "cat"}
    with pytest.raises(ValueError, match="has 'dog' as class 15 where COCO has it as 16"):
        Mask2FormerDetector(model)


def test_a_model_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="has 7 classes and 80 names were given; take one"):
        Mask2FormerDetector(mask2former(7))


def test_it_is_loaded_from_safetensors(tmp_path):
    model = mask2former()
    model.save_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    loaded = Mask2FormerDetector.load(str(tmp_path), short=64, long=96).detect(image)
    assert loaded == Mask2FormerDetector(model, short=64, long=96).detect(image)
