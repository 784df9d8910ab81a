"""Builders of the video verifiers for the catalogue; each imports its class, and so torch, when it is called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


def subject_consistency(source: str, device: Device = "cpu") -> Verifier:
    """Build the likeness of the frames of a clip to a DINO.

    Args:
        source: a vision transformer of transformers on the Hugging Face hub, or a local folder.
        device: where the model runs.
    """
    from verifiers.video.consistency import Consistency

    return Consistency.dino(source, device=device)


def background_consistency(source: str, device: Device = "cpu") -> Verifier:
    """Build the likeness of the frames of a clip to a CLIP.

    Args:
        source: "ARCHITECTURE@TAG" of open_clip, or the path of a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `CLIPScore.load`.
    """
    from verifiers.video.consistency import Consistency

    model, tag = (source, "") if os.path.isdir(source) else source.partition("@")[::2]
    return Consistency.clip(model, tag or None, device=device)


def vjepa(source: str, device: Device = "cpu") -> Verifier:
    """Build the surprise of a V-JEPA 2.

    Args:
        source: a name on the Hugging Face hub, or a local folder.
        device: where the model runs.
    """
    from verifiers.video.vjepa import VJEPA

    return VJEPA.load(source, device=device)


def videoscore(source: str, device: Device = "cpu") -> Verifier:
    """Build a VideoScore2.

    Args:
        source: a name on the Hugging Face hub, or a local folder, whose gensearch.json may hold the `question`.
        device: where the model runs.

    Raises:
        ValueError: as `VideoScore2.load`.
    """
    from verifiers.video.videoscore import VideoScore2

    return VideoScore2.load(source, device=device)


def videoreward(source: str, device: Device = "cpu") -> Verifier:
    """Build a VideoReward.

    Args:
        source: a converted checkpoint on the Hugging Face hub, or a local folder.
        device: where the model runs.

    Raises:
        ValueError: as `VideoReward.load`.
    """
    from verifiers.video.videoreward import VideoReward

    return VideoReward.load(source, device=device)


def motion() -> Verifier:
    """Build the amount of motion in a clip."""
    from verifiers.video.motion import Motion

    return Motion()


def flicker() -> Verifier:
    """Build the absence of flicker in a clip."""
    from verifiers.video.flicker import Flicker

    return Flicker()


def smoothness() -> Verifier:
    """Build the smoothness of the motion in a clip."""
    from verifiers.video.smoothness import Smoothness

    return Smoothness()
