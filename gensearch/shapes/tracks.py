"""Tracks of objects in clips of the moving Shapes world: detections in every frame, linked over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensearch.shapes.detector import ShapesDetector
from verifiers.detect.geneval import GENEVAL, Detection

REACH = 6.0  # pixels that an object may move between two frames; the fastest of the world move 3
BLINK = 1  # frames that an object may be missing without becoming another one


class Sighting(NamedTuple):
    """One detected object in one frame.

    Attributes:
        frame: its index.
        shape: the class.
        color: its name; None for a colour between two names.
        x: of the centroid in pixels.
        y: of the centroid in pixels, down.
        box: (left, top, right, bottom) in pixels.
    """

    frame: int
    shape: str
    color: str | None
    x: float
    y: float
    box: tuple[float, float, float, float]


Track = list[Sighting]  # of one object, in order of time


def sightings(frames: Sequence[np.ndarray] | np.ndarray) -> list[list[Sighting]]:
    """Detect the objects of every frame, above GenEval's threshold.

    Args:
        frames: uint8 [h, w, 3] each, RGB.
    """
    detector, out = ShapesDetector(), []
    found: dict[str, list[Detection]] = {}
    for number, frame in enumerate(frames):
        if not number or not np.array_equal(frame, frames[number - 1]):
            found = detector.detect(frame)
        here = []
        for shape, detections in found.items():
            for d in detections:
                if d.score > GENEVAL.threshold and d.mask is not None:
                    rows, columns = np.nonzero(d.mask)
                    here.append(Sighting(number, shape, d.color, float(columns.mean()), float(rows.mean()), d.box))
        out.append(here)
    return out


def link(observed: Sequence[Sequence[Sighting]]) -> list[Track]:
    """Link sightings to tracks: the nearest one within reach in the next frame is the same object.

    Shape and colour do not matter, so that a change of either is found within one track.

    Args:
        observed: the sightings of every frame.
    """
    tracks: list[Track] = []
    for number, here in enumerate(observed):
        live = [track for track in tracks if number - track[-1].frame <= 1 + BLINK]
        far = np.array([[np.hypot(s.x - t[-1].x, s.y - t[-1].y) / (number - t[-1].frame) for s in here] for t in live])
        far = np.where(far > REACH, 1e6, far).reshape(len(live), len(here))
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(far), strict=True) if far[i, j] <= REACH]
        for i, j in pairs:
            live[i].append(here[j])
        taken = {j for _, j in pairs}
        tracks += [[sighting] for j, sighting in enumerate(here) if j not in taken]
    return tracks


def appearance(track: Track) -> tuple[str, str | None]:
    """Return the shape and the colour of an object in most of its frames.

    Args:
        track: of the object.
    """
    shape = Counter(s.shape for s in track).most_common(1)[0][0]
    return shape, Counter(s.color for s in track).most_common(1)[0][0]


def places(track: Track) -> np.ndarray:
    """Return the centroids [n, 2] of an object, (x, y) in pixels.

    Args:
        track: of the object.
    """
    return np.array([(s.x, s.y) for s in track])


def length(track: Track) -> int:
    """Return the number of frames from the first sighting to the last.

    Args:
        track: of the object.
    """
    return track[-1].frame - track[0].frame
