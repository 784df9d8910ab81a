"""Verifiers of clips by name, each built when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from verifiers.embedding.entries import tagged
from verifiers.entry import Entry, loaded_by, made_by

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


def background_consistency(source: str, device: Device = "cpu") -> Verifier:
    """Build the likeness of the frames of a clip to a CLIP.

    Args:
        source: "ARCHITECTURE@TAG" of open_clip, or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.video.consistency import Consistency

    return Consistency.clip(*tagged(source), device=device)


subject_consistency = loaded_by("verifiers.video.consistency", "Consistency", "dino")
vjepa = loaded_by("verifiers.video.vjepa", "VJEPA")
videoscore = loaded_by("verifiers.video.videoscore", "VideoScore2")
videoreward = loaded_by("verifiers.video.videoreward", "VideoReward")

VERIFIERS: dict[str, Entry] = {
    "videoscore": Entry(
        partial(videoscore, "TIGER-Lab/VideoScore2"),
        "VideoScore2, a language model that writes three scores of a clip; any videoscore:NAME or local folder",
        True,
        "verifiers.video.videoscore",
    ),
    "videoreward": Entry(
        partial(videoreward, "KwaiVGI/VideoReward"),
        "VideoReward, quality, motion and alignment of a clip; videoreward:FOLDER of a converted checkpoint",
        True,
        "verifiers.video.videoreward",
    ),
    "vjepa": Entry(
        partial(vjepa, "facebook/vjepa2-vitl-fpc64-256"),
        "V-JEPA 2, how predictable the later frames of a clip are; any vjepa:NAME or local folder",
        True,
        "verifiers.video.vjepa",
    ),
    "subject_consistency": Entry(
        partial(subject_consistency, "facebook/dinov2-base"),
        "likeness of the frames of a clip to DINOv2, as in VBench",
        True,
        "verifiers.video.consistency",
    ),
    "background_consistency": Entry(
        partial(background_consistency, "ViT-B-32@laion2b_s34b_b79k"),
        "likeness of the frames of a clip to CLIP, as in VBench",
        True,
        "verifiers.video.consistency",
    ),
    "motion": Entry(
        made_by("verifiers.video.motion", "Motion"),
        "amount of motion in a clip, to report beside any clip verifier",
        module="verifiers.video.motion",
    ),
    "flicker": Entry(
        made_by("verifiers.video.flicker", "Flicker"),
        "how little a clip changes from frame to frame, as in VBench",
        module="verifiers.video.flicker",
    ),
    "smoothness": Entry(
        made_by("verifiers.video.smoothness", "Smoothness"),
        "how well every second frame of a clip is the mean of its neighbours",
        module="verifiers.video.smoothness",
    ),
}

SOURCES: dict[str, Callable[[str, Device], Verifier]] = {  # by kind:source
    "background_consistency": background_consistency,
    "subject_consistency": subject_consistency,
    "videoreward": videoreward,
    "videoscore": videoscore,
    "vjepa": vjepa,
}
