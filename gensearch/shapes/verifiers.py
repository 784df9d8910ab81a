"""The verifiers of the Shapes worlds by name, each built when it is asked for."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from verifiers.catalogue import Entry

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


def clip(name: str, device: Device = "cpu") -> Verifier:
    """Build an embedded CLIP of the Shapes world.

    Args:
        name: of its folder of weights.
        device: where it runs.
    """
    from verifiers.embedding.clip import CLIPScore

    folder = files("gensearch") / "shapes" / "weights" / name
    return CLIPScore.load(str(folder), name=f"shapes/{name}", device=device)


def critic(name: str, device: Device = "cpu") -> Verifier:
    """Build an embedded critic of the Shapes world, which answers the questions that a prompt consists of.

    Args:
        name: of its folder of weights.
        device: where it runs.
    """
    from gensearch.shapes.critic import Critic
    from verifiers.vlm.decompose import Decomposed

    folder = Path(str(files("gensearch"))) / "shapes" / "weights" / name
    return Decomposed(Critic.load(folder, name=f"shapes/{name}", device=device))


def clip_frames(device: Device = "cpu") -> Verifier:
    """Build the embedded CLIP on every frame of a clip, with prompts that leave out the motion.

    Args:
        device: where it runs.
    """
    from gensearch.shapes.clips import still
    from verifiers.combine import Rephrased
    from verifiers.video.per_frame import PerFrame

    return PerFrame(Rephrased(clip("clip", device), still))


def clip_motion(device: Device = "cpu") -> Verifier:
    """Build the embedded CLIP of the moving Shapes, on four frames of a clip or of its beginning in one picture.

    Args:
        device: where it runs.
    """
    from gensearch.shapes.clips import FRAMES
    from verifiers.video.grid import Grid

    return Grid(clip("clip-motion", device), FRAMES)


def judge() -> Verifier:
    """Build the exact judge of the Shapes world."""
    from gensearch.shapes.judge import ShapesJudge

    return ShapesJudge()


def share() -> Verifier:
    """Build the share of the clauses of a Shapes prompt that a picture fulfils."""
    from gensearch.shapes.judge import ShapesPartial

    return ShapesPartial()


def tracker() -> Verifier:
    """Build the exact judge of the moving Shapes world."""
    from gensearch.shapes.tracker import ShapesTracker

    return ShapesTracker()


def tracker_share() -> Verifier:
    """Build the share of the aspects of a moving-Shapes prompt that are right in a clip."""
    from gensearch.shapes.tracker import ShapesTrackerPartial

    return ShapesTrackerPartial()


CARDS = "gensearch.shapes.cards"
VERIFIERS = {
    "shapes/critic": Entry(
        partial(critic, "critic"),
        "answers the questions in a prompt; learned from exact labels",
        True,
        f"{CARDS}:CRITIC",
    ),
    "shapes/critic-holdout": Entry(
        partial(critic, "critic-holdout"),
        "an independent critic, learned without exact labels, for --holdout",
        True,
        f"{CARDS}:CRITIC_HOLDOUT",
    ),
    "shapes/clip": Entry(partial(clip, "clip"), "CLIP of the Shapes world, embedded", True, f"{CARDS}:CLIP"),
    "shapes/clip-holdout": Entry(
        partial(clip, "clip-holdout"), "a second CLIP of that world, for --holdout", True, f"{CARDS}:HOLDOUT"
    ),
    "shapes/clip-frames": Entry(
        clip_frames,
        "that CLIP on every frame of a clip, with prompts that leave out the motion",
        True,
        f"{CARDS}:FRAMES",
    ),
    "shapes/clip-motion": Entry(
        clip_motion,
        "a CLIP of the moving Shapes, embedded, on four frames in one picture",
        True,
        f"{CARDS}:MOTION",
    ),
    "shapes/judge": Entry(
        judge, "exact judge: 1 if the picture shows what its prompt asks for", module=f"{CARDS}:JUDGE"
    ),
    "shapes/partial": Entry(
        share, "exact judge: the share of the prompt's clauses that are fulfilled", module=f"{CARDS}:PARTIAL"
    ),
    "shapes/tracker": Entry(
        tracker, "exact judge of clips: 1 if the frames so far show what the prompt asks for", module=f"{CARDS}:TRACKER"
    ),
    "shapes/tracker-partial": Entry(
        tracker_share, "exact judge of clips: the share of aspects that are right", module=f"{CARDS}:TRACKER_PARTIAL"
    ),
}

PICTURES = ("shapes/janus", "shapes/sd", "shapes/turbo")
GUIDES = {**dict.fromkeys(PICTURES, "shapes/critic"), "shapes/video": "shapes/clip-motion"}  # model -> default guide
HOLDOUTS = dict.fromkeys(  # model -> hold-outs for where none is given: the first that neither guides nor selects
    PICTURES, ("shapes/critic-holdout", "shapes/clip-holdout")
)  # asked leniently, since a run must not fail by a hold-out that nobody asked for


def guide_for(model: object) -> str:
    """Return the name of the verifier that guides a model where none is given.

    Args:
        model: its name, or an object with a `name`.
    """
    return GUIDES.get(str(getattr(model, "name", model)), "shapes/clip")
