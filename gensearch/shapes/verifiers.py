"""The judges of the Shapes worlds, each built when it is asked for."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

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
    from verifiers.video.clips import PerFrame
    from verifiers.video.rephrased import Rephrased

    return PerFrame(Rephrased(clip("clip", device), still))


def clip_motion(device: Any = "cpu") -> Verifier:
    """The embedded CLIP of the moving Shapes, which sees four frames of a clip, or of its beginning, in one picture."""
    from gensearch.shapes.clips import FRAMES
    from verifiers.video.clips import Grid

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
