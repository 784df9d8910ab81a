"""The judges of the Shapes worlds, each built when it is asked for."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from verifiers.catalogue import Entry

if TYPE_CHECKING:
    from verifiers.types import Verifier


def clip(name: str, device: Any = "cpu") -> Verifier:
    """An embedded CLIP of the Shapes world, by the name of its folder."""
    from verifiers.embedding.clip import CLIPScore

    folder = files("gensearch") / "shapes" / "weights" / name
    return CLIPScore.load(str(folder), name=f"shapes/{name}", device=device)


def clip_frames(device: Any = "cpu") -> Verifier:
    """The embedded CLIP on every frame of a clip, asked for what the prompt says of looks."""
    from gensearch.shapes.clips import still
    from verifiers.combine import Rephrased
    from verifiers.video.per_frame import PerFrame

    return PerFrame(Rephrased(clip("clip", device), still))


def clip_motion(device: Any = "cpu") -> Verifier:
    """The embedded CLIP of the moving Shapes, which sees four frames of a clip, or of its beginning, in one picture."""
    from gensearch.shapes.clips import FRAMES
    from verifiers.video.grid import Grid

    return Grid(clip("clip-motion", device), FRAMES)


def judge() -> Verifier:
    """The exact judge of the Shapes world."""
    from gensearch.shapes.judge import ShapesJudge

    return ShapesJudge()


def share() -> Verifier:
    """The share of a Shapes prompt's clauses that the picture fulfils."""
    from gensearch.shapes.judge import ShapesPartial

    return ShapesPartial()


def tracker() -> Verifier:
    """The exact judge of moving Shapes."""
    from gensearch.shapes.tracker import ShapesTracker

    return ShapesTracker()


def tracker_share() -> Verifier:
    """The share of aspects of a moving-Shapes prompt that the clip fulfils."""
    from gensearch.shapes.tracker import ShapesTrackerPartial

    return ShapesTrackerPartial()


VERIFIERS = {
    "shapes/clip": Entry(partial(clip, "clip"), "CLIP of the Shapes world, embedded; differentiable", True),
    "shapes/clip-holdout": Entry(partial(clip, "clip-holdout"), "another CLIP of that world, for --holdout", True),
    "shapes/clip-frames": Entry(
        clip_frames, "that CLIP on every frame of a clip, asked for what the prompt says of looks", True
    ),
    "shapes/clip-motion": Entry(
        clip_motion, "a CLIP of the moving Shapes, embedded, on four frames in one picture", True
    ),
    "shapes/judge": Entry(judge, "exact: 1 if the picture shows what its prompt asks for"),
    "shapes/partial": Entry(share, "exact: the share of the prompt's clauses fulfilled"),
    "shapes/tracker": Entry(tracker, "exact, for clips: 1 if the frames so far show what the prompt asks for"),
    "shapes/tracker-partial": Entry(tracker_share, "exact, for clips: the share of aspects that are right"),
}
