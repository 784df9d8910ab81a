"""An exact judge of the moving Shapes world: detect in every frame, link over frames, compare with what is asked.

A clip may be a prefix of one that is still being made. Then it is judged by what can be said already: objects, colours
and their number from the first frame on, motion once some frames show it, and nothing that may still come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from gensearch.shapes import clips
from gensearch.shapes.clips import MOTIONS, Motion
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.world import Spec
from verifiers.geneval import GENEVAL

ASPECTS = ("object", "color", "count", "direction", "speed", "identity", "smoothness")

REACH = 6.0  # pixels that an object may move between two frames; the fastest of the world move 3
BLINK = 1  # frames that an object may be missing without becoming another one
SPAN = 4  # frames from the first to the last sighting that a motion needs to be told
STILL = 2.0  # pixels that a standing object may stray from its middle
SLOWEST, FASTER = 0.35, 1.7  # pixels per frame from which an object moves, and from which it moves fast
ASLANT = 0.35, 0.75  # how far a straight motion may stray: share of its length, and pixels
TOUCH, RETURN = 3.5, 2.5  # pixels to the wall at which a bouncing object turns, and from there once it has turned
JERK = 1.6  # pixels by which a step may differ from the usual one

Verdict = dict[str, bool | None]  # aspect -> right, wrong, or nothing to judge


class Sighting(NamedTuple):
    """One object in one frame: centroid (x, y) and box (left, top, right, bottom) in pixels."""

    frame: int
    shape: str
    color: str | None
    x: float
    y: float
    box: tuple[float, float, float, float]


Track = list[Sighting]


# --- seeing


def sightings(frames: Sequence[np.ndarray]) -> list[list[Sighting]]:
    """The objects of every frame, uint8 [h, w, 3], that the detector is sure enough of."""
    detector, out = ShapesDetector(), []
    for number, frame in enumerate(frames):
        seen = []
        for shape, detections in detector.detect(frame).items():
            for d in detections:
                if d.score > GENEVAL.threshold and d.mask is not None:
                    rows, columns = np.nonzero(d.mask)
                    seen.append(Sighting(number, shape, d.color, float(columns.mean()), float(rows.mean()), d.box))
        out.append(seen)
    return out


def link(seen: Sequence[Sequence[Sighting]]) -> list[Track]:
    """Sightings as tracks: what is nearest in the next frame and in reach is the same object, whatever it looks like."""
    tracks: list[Track] = []
    for number, here in enumerate(seen):
        live = [track for track in tracks if number - track[-1].frame <= 1 + BLINK]
        far = np.array([[np.hypot(s.x - t[-1].x, s.y - t[-1].y) / (number - t[-1].frame) for s in here] for t in live])
        far = np.where(far > REACH, 1e6, far).reshape(len(live), len(here))
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(far), strict=True) if far[i, j] <= REACH]
        for i, j in pairs:
            live[i].append(here[j])
        taken = {j for _, j in pairs}
        tracks += [[sighting] for j, sighting in enumerate(here) if j not in taken]
    return tracks


def looks(track: Track) -> tuple[str, str | None]:
    """Shape and colour of an object in most of its frames."""
    shape, color = (Counter(values).most_common(1)[0][0] for values in zip(*((s.shape, s.color) for s in track), strict=True))
    return str(shape), color


# --- judging


def judge(seen: Sequence[Sequence[Sighting]], line: Spec, whole: bool = True) -> Verdict:
    """The verdict on every aspect of a clip, or of its beginning if it is not `whole`."""
    tracks = link(seen)
    asked = [(clause, MOTIONS[clause["motion"]]) for clause in line["include"]]
    owners = [None if track is None else tracks[track] for track in match(line, tracks)]
    awaited = [track is None and not whole and motion.kind == "appear" for (_, motion), track in zip(asked, owners, strict=True)]
    found = [looks(track) if track else None for track in owners]
    moved = [
        (motion, track) for (_, motion), track in zip(asked, owners, strict=True) if track and length(track) >= SPAN
    ]
    out: Verdict = {
        "object": every(wait or bool(f and f[0] == c["class"]) for (c, _), f, wait in zip(asked, found, awaited, strict=True)),
        "color": every(wait or bool(f and f[1] == c["color"]) for (c, _), f, wait in zip(asked, found, awaited, strict=True)),
        "count": counted([len(here) for here in seen], [motion for _, motion in asked], whole),
        "direction": every(directed(motion, track, whole) for motion, track in moved),
        "speed": every(speed(track) == motion.speed for motion, track in moved if motion.speed),
        "identity": len(tracks) <= len(asked) and all(len({(s.shape, s.color) for s in t}) == 1 for t in tracks),
        "smoothness": every(smooth(motion, track) for motion, track in moved),
    }
    if all(awaited):
        out["object"] = out["color"] = None
    return out


def correct(verdict: Verdict) -> bool:
    """Whether nothing is wrong."""
    return all(right is not False for right in verdict.values())


def right_until(seen: Sequence[Sequence[Sighting]], line: Spec) -> int:
    """How many frames from the first on are right: the longest prefix that ends with a latent frame and is correct.

    It is the whole clip, len(seen), only if the clip as a whole is.
    """
    best = 0
    for end in clips.CHUNKS:
        if end > len(seen) or not correct(judge(seen[:end], line, whole=end == len(seen))):
            break
        best = end
    return best


def every(answers: object) -> bool | None:
    """True if all answers are; None if there are none."""
    known = list(answers)  # type: ignore[call-overload]
    return all(known) if known else None


def match(line: Spec, tracks: Sequence[Track]) -> list[int | None]:
    """The track that each clause means: by shape first, then by colour, then the longest."""
    if not tracks:
        return [None] * len(line["include"])
    score = np.zeros((len(line["include"]), len(tracks)))
    for i, clause in enumerate(line["include"]):
        for j, track in enumerate(tracks):
            shape, color = looks(track)
            score[i, j] = 4 * (shape == clause["class"]) + 2 * (color == clause["color"]) + len(track) / 1000
    rows, columns = linear_sum_assignment(-score)
    owner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [owner.get(i) for i in range(len(line["include"]))]


def counted(numbers: Sequence[int], motions: Sequence[Motion], whole: bool) -> bool:
    """Whether every frame shows as many objects as it should."""
    kinds = [motion.kind for motion in motions]
    lasting = sum(kind not in ("appear", "disappear") for kind in kinds)
    extra = np.array(numbers) - lasting
    if lasting == len(kinds):
        return bool((extra == 0).all())
    if "disappear" in kinds:
        extra = 1 - extra  # from here on as if it appeared
    comes = extra[0] == 0 and bool(np.isin(extra, (0, 1)).all()) and bool((np.diff(extra) >= 0).all())
    return comes and (not whole or extra[-1] == 1)


def places(track: Track) -> np.ndarray:
    """Centroids [n, 2]."""
    return np.array([(s.x, s.y) for s in track])


def length(track: Track) -> int:
    """Frames from the first sighting to the last."""
    return track[-1].frame - track[0].frame


def directed(motion: Motion, track: Track, whole: bool) -> bool:
    """Whether an object goes where it should."""
    at = places(track)
    if motion.kind in ("still", "appear", "disappear"):
        return bool(np.abs(at - np.median(at, axis=0)).max() <= STILL)
    way = np.array(motion.direction)
    along, across = at @ way, at @ way[::-1]
    if motion.kind == "move":
        gone = along[-1] - along[0]
        return bool(gone >= SLOWEST * length(track) and np.ptp(across) <= ASLANT[0] * gone + ASLANT[1])
    turn = int(along.argmax())
    returned = along[turn] - along[-1] >= RETURN
    edge = track[turn].box[(0 if way.sum() < 0 else 2) + abs(int(way[1]))]
    touched = (edge if way.sum() < 0 else clips.SIZE - edge) <= TOUCH
    came = along[turn] - along[0] >= SLOWEST * max(turn, 1)
    return bool(came and np.ptp(across) <= STILL and (touched if returned else not whole))


def speed(track: Track) -> str:
    """The speed class of an object, from its first to its last place; empty if it stands still."""
    at = places(track)
    pace = np.hypot(*(at[-1] - at[0])) / length(track)
    return "fast" if pace >= FASTER else "slow" if pace >= SLOWEST else ""


def smooth(motion: Motion, track: Track) -> bool:
    """Whether an object is there all the time and each of its steps is like the others."""
    steps = np.diff(places(track), axis=0)
    if len(track) != length(track) + 1:
        return False
    if motion.kind == "bounce":
        pace = np.hypot(*steps.T)
        return bool((pace <= np.median(pace) + JERK).all())
    return bool((np.hypot(*(steps - np.median(steps, axis=0)).T) <= JERK).all())
