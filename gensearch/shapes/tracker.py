"""The exact judge of the moving Shapes world: it detects objects, tracks them, and compares them with the prompt.

A clip may be the beginning of one that is still being generated. Then only what is certain already is judged: objects,
colours and their number from the first frame on, motion after some frames, and nothing that may still come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from gensearch.shapes import clips
from gensearch.shapes.clips import MOTIONS, Motion
from gensearch.shapes.drawing import SIZE
from gensearch.shapes.judge import pixels
from gensearch.shapes.tracks import Sighting as Sighting
from gensearch.shapes.tracks import Track, appearance, length, link, places
from gensearch.shapes.tracks import sightings as sightings
from gensearch.shapes.world import Clause, Spec
from verifiers.types import Media, Scores

ASPECTS = ("object", "color", "count", "direction", "speed", "identity", "smoothness")

SPAN = 4  # frames from the first to the last sighting from which a motion is judged
STILL = 2.0  # pixels that a still object may stray from its median position
SLOWEST, FASTER = 0.35, 1.7  # pixels per frame from which an object moves, and from which it moves fast
ASLANT = 0.35, 0.75  # how far a straight motion may stray: share of its length, and pixels
TOUCH, RETURN = 3.5, 2.5  # pixels to the wall at which a bouncing object turns, and from there once it has turned
JERK = 1.6  # pixels by which a step may differ from the median step

Verdict = dict[str, bool | None]  # aspect -> right, wrong, or None where it does not apply


class Asked(NamedTuple):
    """A clause of the prompt and the object that fits it best.

    Attributes:
        clause: an entry of `include`.
        motion: that the clause asks for.
        track: of the object, empty if there is none.
    """

    clause: Clause
    motion: Motion
    track: Track


# --- judging


def judge(observed: Sequence[Sequence[Sighting]], line: Spec, whole: bool = True) -> Verdict:
    """Judge every aspect of a clip.

    Args:
        observed: the sightings of every frame.
        line: the metadata line of the prompt.
        whole: whether the clip is finished; otherwise more frames follow.
    """
    tracks = link(observed)
    asked = [Asked(clause, MOTIONS[clause["motion"]], track) for clause, track in match(line, tracks)]
    if not whole:  # an object that is to appear may still come
        asked = [one for one in asked if one.track or one.motion.kind != "appear"]
    moved = [(one.motion, one.track) for one in asked if one.track and length(one.track) >= SPAN]
    return {
        "object": every(bool(one.track) and appearance(one.track)[0] == one.clause["class"] for one in asked),
        "color": every(bool(one.track) and appearance(one.track)[1] == one.clause["color"] for one in asked),
        "count": counted([len(here) for here in observed], [MOTIONS[c["motion"]] for c in line["include"]], whole),
        "direction": every(directed(motion, track, whole) for motion, track in moved),
        "speed": every(speed(track) == motion.speed for motion, track in moved if motion.speed),
        "identity": len(tracks) <= len(line["include"])
        and all(len({(s.shape, s.color) for s in t}) == 1 for t in tracks),
        "smoothness": every(smooth(motion, track) for motion, track in moved),
    }


def correct(verdict: Verdict) -> bool:
    """Return whether no aspect is wrong.

    Args:
        verdict: on a clip.
    """
    return all(right is not False for right in verdict.values())


def right_until(observed: Sequence[Sequence[Sighting]], line: Spec) -> int:
    """Return the number of frames of the longest correct prefix that ends with a latent frame.

    It is len(observed) only if the finished clip is correct.

    Args:
        observed: the sightings of every frame.
        line: the metadata line of the prompt.
    """
    best = 0
    for end in clips.CHUNKS:
        if end > len(observed) or not correct(judge(observed[:end], line, whole=end == len(observed))):
            break
        best = end
    return best


def every(answers: Iterable[bool]) -> bool | None:
    """Return whether all answers are true; None if there are none.

    Args:
        answers: any number.
    """
    known = list(answers)
    return all(known) if known else None


def match(line: Spec, tracks: Sequence[Track]) -> list[tuple[Clause, Track]]:
    """Assign a track to each clause, by shape first, then by colour, then by length; empty if none is left.

    Args:
        line: the metadata line of the prompt.
        tracks: of all objects.
    """
    clauses = line["include"]
    score = np.zeros((len(clauses), len(tracks)))
    for i, clause in enumerate(clauses):
        for j, track in enumerate(tracks):
            shape, color = appearance(track)
            score[i, j] = 4 * (shape == clause["class"]) + 2 * (color == clause["color"]) + len(track) / 1000
    owner = dict(zip(*linear_sum_assignment(-score), strict=True))
    return [(clause, tracks[owner[i]] if i in owner else []) for i, clause in enumerate(clauses)]


def counted(numbers: Sequence[int], motions: Sequence[Motion], whole: bool) -> bool:
    """Return whether every frame has the right number of objects.

    Args:
        numbers: of objects in every frame.
        motions: that the prompt asks for.
        whole: whether the clip is finished.
    """
    kinds = [motion.kind for motion in motions]
    lasting = sum(kind not in ("appear", "disappear") for kind in kinds)
    extra = np.array(numbers) - lasting
    if lasting == len(kinds):
        return bool((extra == 0).all())
    if "disappear" in kinds:
        extra = 1 - extra  # from here on as if it appeared
    comes = extra[0] == 0 and np.isin(extra, (0, 1)).all() and (np.diff(extra) >= 0).all()
    return bool(comes and (not whole or extra[-1] == 1))


def directed(motion: Motion, track: Track, whole: bool) -> bool:
    """Return whether an object moves in the right direction.

    Args:
        motion: that the prompt asks for.
        track: of the object.
        whole: whether the clip is finished.
    """
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
    touched = (edge if way.sum() < 0 else SIZE - edge) <= TOUCH
    came = along[turn] - along[0] >= SLOWEST * max(turn, 1)
    return bool(came and np.ptp(across) <= STILL and (touched if returned else not whole))


def speed(track: Track) -> str:
    """Return the speed class of an object, "slow" or "fast"; empty if it stands still.

    Args:
        track: of the object.
    """
    at = places(track)
    pace = np.hypot(*(at[-1] - at[0])) / length(track)
    return "fast" if pace >= FASTER else "slow" if pace >= SLOWEST else ""


def smooth(motion: Motion, track: Track) -> bool:
    """Return whether an object is there in all frames, and its steps are about equal.

    Args:
        motion: that the prompt asks for.
        track: of the object.
    """
    steps = np.diff(places(track), axis=0)
    if len(track) != length(track) + 1:
        return False
    if motion.kind == "bounce":
        pace = np.hypot(*steps.T)
        return bool((pace <= np.median(pace) + JERK).all())
    return bool((np.hypot(*(steps - np.median(steps, axis=0)).T) <= JERK).all())


# --- verifiers


class ShapesTracker:
    """The exact judge of clips: 1 if the frames show what the prompt asks for, otherwise 0.

    `Scores.parts` holds each aspect as 1, 0 or NaN where it does not apply. A clip that is not finite scores NaN.
    """

    name = "shapes/tracker"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Judge clips.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts of the moving Shapes world.
            progress: share of the clip that is generated, in (0, 1]; below 1 more frames follow, and what may still
                come is not counted as wrong.

        Raises:
            ValueError: for pictures, and for a prompt outside the grammar.
        """
        return grade(media, prompts, progress >= 1, lambda verdict: float(correct(verdict)))


class ShapesTrackerPartial:
    """The share of applicable aspects that are right, in [0, 1]; 1 if and only if `ShapesTracker` scores 1."""

    name = "shapes/tracker-partial"
    differentiable = False

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts of the moving Shapes world.
            progress: as in `ShapesTracker`.

        Raises:
            ValueError: for pictures, and for a prompt outside the grammar.
        """
        return grade(media, prompts, progress >= 1, share)


def share(verdict: Verdict) -> float:
    """Return the share of applicable aspects that are right.

    Args:
        verdict: on a clip.
    """
    judged = [right for right in verdict.values() if right is not None]
    return sum(judged) / len(judged)


def grade(media: Media, prompts: Sequence[str], whole: bool, mark: Callable[[Verdict], float]) -> Scores:
    """Score clips by a function of the verdict; parts hold each aspect as 1, 0 or NaN where it does not apply.

    Args:
        media: clips [b, t, 3, h, w] in [0, 1]; NaN for those that are not finite.
        prompts: b prompts.
        whole: whether the clips are finished.
        mark: from a verdict to a score.

    Raises:
        ValueError: for media that are no clips with one prompt each, and for a prompt outside the grammar.
    """
    if media.ndim != 5 or media.shape[2] != 3 or len(media) != len(prompts):
        raise ValueError(
            f"the tracker scores clips [b, t, 3, h, w] with one prompt each; it got media of shape {list(media.shape)} "
            f"and {len(prompts)} prompts"
        )
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
