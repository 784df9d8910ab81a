"""An exact judge of the moving Shapes world: detect in every frame, link over frames, compare with what is asked.

A clip may be a prefix of one that is still being made. Then it is judged by what can be said already: objects, colours
and their number from the first frame on, motion once some frames show it, and nothing that may still come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from gensearch.shapes import clips
from gensearch.shapes.clips import MOTIONS, Motion
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import pixels
from gensearch.shapes.world import Clause, Spec
from verifiers.detect.geneval import GENEVAL, Detection
from verifiers.types import Media, Scores

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


class Asked(NamedTuple):
    """What a clause asks for and the track that it means, empty if there is none."""

    clause: Clause
    motion: Motion
    track: Track


# --- seeing


def sightings(frames: Sequence[np.ndarray]) -> list[list[Sighting]]:
    """The objects of every frame, uint8 [h, w, 3], that the detector is sure enough of."""
    detector, out = ShapesDetector(), []
    found: dict[str, list[Detection]] = {}
    for number, frame in enumerate(frames):
        if not number or not np.array_equal(frame, frames[number - 1]):
            found = detector.detect(frame)
        seen = []
        for shape, detections in found.items():
            for d in detections:
                if d.score > GENEVAL.threshold and d.mask is not None:
                    rows, columns = np.nonzero(d.mask)
                    seen.append(Sighting(number, shape, d.color, float(columns.mean()), float(rows.mean()), d.box))
        out.append(seen)
    return out


def link(seen: Sequence[Sequence[Sighting]]) -> list[Track]:
    """Sightings as tracks: what is nearest in the next frame, within reach, is the same object, alike or not."""
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
    shape = Counter(s.shape for s in track).most_common(1)[0][0]
    return shape, Counter(s.color for s in track).most_common(1)[0][0]


# --- judging


def judge(seen: Sequence[Sequence[Sighting]], line: Spec, whole: bool = True) -> Verdict:
    """The verdict on every aspect of a clip, or of its beginning if it is not `whole`."""
    tracks = link(seen)
    asked = [Asked(clause, MOTIONS[clause["motion"]], track) for clause, track in match(line, tracks)]
    if not whole:  # an object that may still appear is no fault yet
        asked = [one for one in asked if one.track or one.motion.kind != "appear"]
    moved = [(one.motion, one.track) for one in asked if one.track and length(one.track) >= SPAN]
    return {
        "object": every(bool(one.track) and looks(one.track)[0] == one.clause["class"] for one in asked),
        "color": every(bool(one.track) and looks(one.track)[1] == one.clause["color"] for one in asked),
        "count": counted([len(here) for here in seen], [MOTIONS[c["motion"]] for c in line["include"]], whole),
        "direction": every(directed(motion, track, whole) for motion, track in moved),
        "speed": every(speed(track) == motion.speed for motion, track in moved if motion.speed),
        "identity": len(tracks) <= len(line["include"])
        and all(len({(s.shape, s.color) for s in t}) == 1 for t in tracks),
        "smoothness": every(smooth(motion, track) for motion, track in moved),
    }


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


def every(answers: Iterable[bool]) -> bool | None:
    """True if all answers are; None if there are none."""
    known = list(answers)
    return all(known) if known else None


def match(line: Spec, tracks: Sequence[Track]) -> list[tuple[Clause, Track]]:
    """The track that each clause means: by shape first, then by colour, then the longest; empty if none is left."""
    clauses = line["include"]
    score = np.zeros((len(clauses), len(tracks)))
    for i, clause in enumerate(clauses):
        for j, track in enumerate(tracks):
            shape, color = looks(track)
            score[i, j] = 4 * (shape == clause["class"]) + 2 * (color == clause["color"]) + len(track) / 1000
    owner = dict(zip(*linear_sum_assignment(-score), strict=True))
    return [(clause, tracks[owner[i]] if i in owner else []) for i, clause in enumerate(clauses)]


def counted(numbers: Sequence[int], motions: Sequence[Motion], whole: bool) -> bool:
    """Whether every frame shows as many objects as it should."""
    kinds = [motion.kind for motion in motions]
    lasting = sum(kind not in ("appear", "disappear") for kind in kinds)
    extra = np.array(numbers) - lasting
    if lasting == len(kinds):
        return bool((extra == 0).all())
    if "disappear" in kinds:
        extra = 1 - extra  # from here on as if it appeared
    comes = extra[0] == 0 and np.isin(extra, (0, 1)).all() and (np.diff(extra) >= 0).all()
    return bool(comes and (not whole or extra[-1] == 1))


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


# --- verifiers


class ShapesTracker:
    """The exact judge of clips: 1 if the frames so far show what the prompt asks for, otherwise 0; parts per aspect.

    With `progress` below 1 more frames follow, and what may still come is not held against the clip.
    """

    name = "shapes/tracker"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Judge clips [b, t, 3, h, w]; NaN if not finite, ValueError for a prompt outside the grammar."""
        return grade(media, prompts, progress >= 1, lambda verdict: float(correct(verdict)))


class ShapesTrackerPartial:
    """The share of judged aspects that are right, in [0, 1]; 1 exactly where `ShapesTracker` gives 1."""

    name = "shapes/tracker-partial"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Grade clips [b, t, 3, h, w]; NaN if not finite, ValueError for a prompt outside the grammar."""
        return grade(media, prompts, progress >= 1, share)


def share(verdict: Verdict) -> float:
    """The share of judged aspects that are right."""
    judged = [right for right in verdict.values() if right is not None]
    return sum(judged) / len(judged)


def grade(media: Media, prompts: Sequence[str], whole: bool, mark: Callable[[Verdict], float]) -> Scores:
    """Mark the verdict on every clip; parts hold each aspect as 1, 0 or NaN where there is nothing to judge."""
    if media.ndim != 5:
        raise ValueError(f"the tracker judges clips [b, t, 3, h, w], and these have shape {tuple(media.shape)}")
    lines = [clips.parse(prompt) for prompt in prompts]
    total = torch.full((len(media),), torch.nan)
    parts = {aspect: total.clone() for aspect in ASPECTS}
    for i, (clip, line) in enumerate(zip(media.detach().cpu().float(), lines, strict=True)):
        if clip.isfinite().all():
            verdict = judge(sightings([pixels(frame) for frame in clip]), line, whole)
            total[i] = mark(verdict)
            for aspect, right in verdict.items():
                parts[aspect][i] = torch.nan if right is None else float(right)
    return Scores(total.to(media.device), {aspect: value.to(media.device) for aspect, value in parts.items()})
