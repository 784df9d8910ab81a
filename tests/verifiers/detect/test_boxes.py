from __future__ import annotations

import torch

from verifiers.detect.boxes import by_class
from verifiers.detect.geneval import Detection


def test_queries_count_for_their_best_class_and_boxes_end_at_the_picture():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.5, 0.1], [0.2, 0.7]], dtype=torch.float64)
    boxes = torch.tensor([[5.0, 5, 4, 2], [19, 9, 6, 6], [30, 5, 4, 4], [-1, 4, 2, 2]])
    found = by_class(scores, boxes, ["cat", "dog"], 10, 20)
    assert found == {"cat": [Detection((16, 6, 20, 10), 0.8)], "dog": [Detection((3, 4, 7, 6), 0.9)]}


def test_classes_without_objects_are_named():
    assert by_class(torch.zeros(0, 2), torch.zeros(0, 4), ["cat", "dog"], 10, 20) == {"cat": [], "dog": []}
