from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.tiny_detectors import owlv2
from verifiers.detect.owlv2 import Owlv2Detector

CLASSES = ("hot dog", "cat", "star")


def picture(height: int = 40, width: int = 70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(40, 70), (61, 33), (32, 32)])
def test_boxes_are_shares_of_the_picture_padded_to_a_square(height, width):
    model, processor = owlv2()
    found = Owlv2Detector(model, processor, CLASSES).detect(picture(height, width))
    side = max(height, width)
    square = np.full((side, side, 3), 0, np.uint8)
    square[:height, :width] = picture(height, width)
    texts = [f"a photo of a {name}" for name in CLASSES]
    with torch.no_grad():
        out = model(**processor(images=square, text=[texts], return_tensors="pt"))
    chance = out.logits[0].double().sigmoid().numpy()
    expected = []
    for row, (x, y, w, h) in zip(chance, out.pred_boxes[0].double().numpy() * side, strict=True):
        box = (max(x - w / 2, 0), max(y - h / 2, 0), min(x + w / 2, width), min(y + h / 2, height))
        if box[0] < box[2] and box[1] < box[3]:
            expected.append((CLASSES[row.argmax()], row.max(), *box))
    ours = [(name, d.score, *d.box) for name, row in found.items() for d in row]
    assert sorted(name for name, *_ in ours) == sorted(name for name, *_ in expected)
    numbers = [np.array(sorted(values for _, *values in side)) for side in (ours, expected)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-2)
    assert len(ours) < len(chance) or height == width  # patches in the padding are left out


def test_other_classes_are_found_with_the_same_network():
    detector = Owlv2Detector(*owlv2(), CLASSES)
    other = detector.looking_for(["cat"])
    assert other.model is detector.model
    assert set(other.detect(picture())) == {"cat"}
    assert set(detector.detect(picture())) == set(CLASSES)


def test_long_names_are_refused():
    with pytest.raises(ValueError, match="the text for 'red blue star ring' has 10 tokens, of at most 8"):
        Owlv2Detector(*owlv2(), ["red blue star ring"])


def test_it_is_loaded_from_safetensors(tmp_path):
    model, processor = owlv2()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = Owlv2Detector.load(str(tmp_path), classes=CLASSES).detect(picture())
    assert loaded == Owlv2Detector(model, processor, CLASSES).detect(picture())
