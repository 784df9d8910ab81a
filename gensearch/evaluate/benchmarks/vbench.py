"""VBench: export of clips in its file naming, and aggregation of its scores.

VBench (Huang et al. 2023, arXiv:2311.17982, v0.1.5) pins libraries that conflict with current ones, so it runs in its
own environment, on files. A verifier that guided a search must not be among the dimensions that report on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gensearch.files.atomic import write_atomic
from gensearch.files.movies import write_clip, writer
from gensearch.packages import __version__

LIMITS = {  # dimension -> (lowest, highest) raw score, by which scores are normalised
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "temporal_flickering": (0.6293, 1.0),
    "motion_smoothness": (0.706, 0.9975),
    "dynamic_degree": (0.0, 1.0),
    "aesthetic_quality": (0.0, 1.0),
    "imaging_quality": (0.0, 1.0),
    "object_class": (0.0, 1.0),
    "multiple_objects": (0.0, 1.0),
    "human_action": (0.0, 1.0),
    "color": (0.0, 1.0),
    "spatial_relationship": (0.0, 1.0),
    "scene": (0.0, 0.8222),
    "appearance_style": (0.0009, 0.2855),
    "temporal_style": (0.0, 0.364),
    "overall_consistency": (0.0, 0.364),
}
QUALITY = tuple(LIMITS)[:7]
SEMANTIC = tuple(LIMITS)[7:]
WEIGHTS = {"dynamic_degree": 0.5}  # of quality dimensions; 1 for all others
QUALITY_SHARE = 4 / 5
CUSTOM = (  # dimensions that can be measured on clips of any prompt
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
LONGEST = 5.0  # seconds from which VBench-Long is the benchmark


class VBench(NamedTuple):
    """Normalised scores, in [0, 1] for raw scores within `LIMITS`.

    Attributes:
        dimensions: dimension -> score.
        quality: weighted mean of the 7 quality dimensions.
        semantic: mean of the 9 semantic dimensions.
        total: (4 quality + semantic) / 5.
    """

    dimensions: dict[str, float]
    quality: float
    semantic: float
    total: float


class Clip(NamedTuple):
    """One generated clip.

    Attributes:
        prompt: of VBench.
        number: index of the clip of its prompt, 0 to 4, or 0 to 24 for temporal_flickering.
        frames: uint8 [t, h, w, 3].
        seed: that it was generated from.
    """

    prompt: str
    number: int
    frames: np.ndarray
    seed: int


def normalised(raw: Mapping[str, float]) -> dict[str, float]:
    """Return normalised scores.

    Args:
        raw: dimension -> raw score, any of the 16 dimensions.

    Raises:
        ValueError: for unknown dimensions, and for scores that are not finite.
    """
    for name, value in raw.items():
        if name not in LIMITS:
            raise ValueError(f"VBench has no dimension {name!r}; it has {', '.join(LIMITS)}")
        if not math.isfinite(value):
            raise ValueError(f"the score of {name} is {value}; measure it again")
    return {name: (raw[name] - least) / (most - least) for name, (least, most) in LIMITS.items() if name in raw}


def aggregate(raw: Mapping[str, float]) -> VBench:
    """Return quality, semantic and total score.

    Args:
        raw: dimension -> raw score, all 16 dimensions.

    Raises:
        ValueError: if a dimension is missing, and as `normalised`.
    """
    if missing := [name for name in LIMITS if name not in raw]:
        raise ValueError(f"the total of VBench needs all 16 dimensions; {', '.join(missing)} are missing")
    found = normalised(raw)
    weights = [WEIGHTS.get(name, 1.0) for name in QUALITY]
    quality = sum(w * found[name] for w, name in zip(weights, QUALITY, strict=True)) / sum(weights)
    semantic = sum(found[name] for name in SEMANTIC) / len(SEMANTIC)
    return VBench(found, quality, semantic, QUALITY_SHARE * quality + (1 - QUALITY_SHARE) * semantic)


def read_results(path: Path) -> dict[str, float]:
    """Return raw scores from a results file of VBench.

    Args:
        path: of the JSON file {dimension: [score, details]}.

    Raises:
        ValueError: for other files.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(value[0] if isinstance(value, list) else value) for name, value in data.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} holds no results of VBench ({error}); give its *_eval_results.json") from None


def export(clips: Iterable[Clip], folder: Path, fps: float, about: Mapping[str, Any], suffix: str = ".mp4") -> Path:
    """Write clips as "{prompt}-{index}.mp4" with a manifest.json, and return the path of the manifest.

    Args:
        clips: each with a number of its own among the clips of its prompt.
        folder: made as needed.
        fps: frames per second, in (0, 100].
        about: what else the scores depend on, such as model, search and prompt file; JSON data.
        suffix: of the files; VBench reads .mp4, .gif is for previews.

    Raises:
        ValueError: for prompts that are no file names, for two clips of one prompt and number, and if no installed
            library writes the format.
    """
    if suffix != ".gif":
        writer(suffix)
    names, lines = set(), []
    for clip in clips:
        name = file_name(clip.prompt, clip.number, suffix)
        if name in names:
            raise ValueError(f"there are two clips {name!r}; give each clip of a prompt a number of its own")
        names.add(name)
        write_clip(folder / name, clip.frames, None, fps)
        seconds = len(clip.frames) / fps
        count, height, width, _ = clip.frames.shape
        lines.append(
            {"file": name, "prompt": clip.prompt, "index": clip.number, "seed": clip.seed, "frames": count}
            | {"height": height, "width": width, "seconds": round(seconds, 4), "long": seconds >= LONGEST}
        )
    manifest = {"gensearch": __version__, "benchmark": "VBench 0.1.5", "fps": fps, "about": dict(about), "clips": lines}
    write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1, allow_nan=False).encode())
    return folder / "manifest.json"


def file_name(prompt: str, index: int, suffix: str) -> str:
    """Return the file name by which VBench finds a clip.

    Args:
        prompt: of VBench.
        index: of the clip of its prompt.
        suffix: of the file, with its dot.

    Raises:
        ValueError: for a prompt that cannot be part of a file name.
    """
    name = f"{prompt}-{index}{suffix}"
    if "/" in prompt or "\0" in prompt or prompt.startswith(".") or len(name.encode()) > 255:
        raise ValueError(f"the prompt {prompt[:60]!r} cannot name a file, as VBench needs; take a prompt of VBench")
    return name
