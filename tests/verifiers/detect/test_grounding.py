from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.tiny_detectors import grounding
from verifiers.detect.grounding import GroundingDetector, class_scores

CLASSES = ("hot dog", "cat", "star")


def picture(height: int = 40, width: int = 70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(40, 70), (61, 33)])
def test_boxes_and_scores_are_those_of_the_processor(height, width):
    model, processor = grounding()
    found = GroundingDetector(model, processor, CLASSES).detect(picture(height, width))
    inputs = processor(images=picture(height, width), text="hot dog. cat. star.", return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        out, inputs["input_ids"], threshold=0, text_threshold=0, target_sizes=[(height, width)]
    )
    edges = torch.tensor([width, height, width, height])
    boxes = theirs["boxes"].clamp(min=0).minimum(edges).tolist()
    words = out.logits[0].double().sigmoid().numpy()
    scores = np.stack([words[:, 1:3].max(1), words[:, 4], words[:, 6]], 1)
    assert sum(map(len, found.values())) == model.config.num_queries
    assert sum(bool(row) for row in found.values()) > 1
    for index, name in enumerate(CLASSES):
        ours = [[*d.box, d.score] for d in found[name]]  # in the order of the queries
        expected = [[*box, row.max()] for box, row in zip(boxes, scores, strict=True) if row.argmax() == index]
        assert np.array(ours) == pytest.approx(np.array(expected), abs=1e-3)


def test_a_class_scores_the_highest_of_its_words_and_full_stops_do_not_count():
    detector = GroundingDetector(*grounding(), CLASSES)
    assert detector.text == "hot dog. cat. star."
    assert detector.spans == [(1, 3), (4, 5), (6, 7)]
    likely = [[9.0, -1, 2, 9, 0, 9, 1, 9, -9], [9.0, 3, 2, 9, 4, 9, 1, 9, -9]]
    logits = torch.tensor(likely)
    expected = 1 / (1 + np.exp(-np.array([[2.0, 0.0, 1.0], [3.0, 4.0, 1.0]])))
    assert class_scores(logits, detector.spans).numpy() == pytest.approx(expected)


def test_other_classes_are_found_with_the_same_network():
    detector = GroundingDetector(*grounding(), CLASSES)
    other = detector.looking_for(["cat"])
    assert other.model is detector.model
    assert set(other.detect(picture())) == {"cat"}
    assert set(detector.detect(picture())) == set(CLASSES)


@pytest.mark.parametrize("name", ["mr. cat", "cat?", " "])
def test_names_that_would_split_the_text_are_refused(name):
    with pytest.raises(ValueError, match="is no class name"):
        GroundingDetector(*grounding(), [name])


def test_too_many_names_are_refused():
    with pytest.raises(ValueError, match="130 classes take 262 tokens, of at most 256; look for fewer"):
        GroundingDetector(*grounding(), ["cat"] * 130)


def test_it_is_loaded_from_safetensors(tmp_path):
    model, processor = grounding()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = GroundingDetector.load(str(tmp_path), classes=CLASSES).detect(picture())
    assert loaded == GroundingDetector(model, processor, CLASSES).detect(picture())
