"""What detectors share: boxes of queries as detections of classes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

from torch import Tensor

from verifiers.detect.geneval import Detection


def by_class(
    scores: Tensor, boxes: Tensor, classes: Sequence[str], height: int, width: int
) -> dict[str, list[Detection]]:
    """Return class name -> detections; a query counts for its most certain class only.

    Boxes are cut at the edges of the picture, and those without an area inside it are left out.

    Args:
        scores: confidence of each query in each class, in [0, 1], [queries, classes].
        boxes: centre x, centre y, width and height in pixels of the picture [queries, 4].
        classes: their names.
        height: of the picture in pixels.
        width: of the picture in pixels.
    """
    best, index = scores.double().max(1)
    middle, size = boxes.double().split(2, 1)
    low, high = middle - size / 2, middle + size / 2
    edges = low.new_tensor([width, height])
    low, high = low.clamp(min=0), high.minimum(edges)
    found: dict[str, list[Detection]] = {name: [] for name in classes}
    for score, i, (x1, y1), (x2, y2) in zip(best.tolist(), index.tolist(), low.tolist(), high.tolist(), strict=True):
        if x1 < x2 and y1 < y2:
            found[classes[i]].append(Detection((x1, y1, x2, y2), score))
    return found


class OpenVocabulary:
    """A detector that looks for any classes by name; a subclass prepares the words for its network."""

    def looking_for(self, classes: Sequence[str]) -> Self:
        """Return a detector of other classes with the same network.

        Args:
            classes: names to look for.

        Raises:
            ValueError: as the class.
        """
        other = copy(self)
        other._look_for(classes)
        return other

    def _look_for(self, classes: Sequence[str]) -> None:
        raise NotImplementedError("a subclass says how classes become words")
