"""Small changes of pictures that leave their content alone: shifts, crops, noise and JPEG compression."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from gensearch.core.noise import derive, randn
from verifiers.types import Media

SHIFT = 0.02  # of a side, at least a pixel
KEPT = 0.95  # of a side, by a crop, which takes at least a pixel
SIGMA = 0.02  # of the noise
QUALITY = 85  # of the JPEG, 1 to 95


def perturbed(media: Media, kind: str, seed: int = 0) -> Media:
    """Media after one small change, the same for every row and every frame.

    Args:
        media: Pictures [b, 3, h, w] or clips [b, t, 3, h, w] in [0, 1]; NaN stays NaN.
        kind: One of `KINDS`.
        seed: Decides directions, places and noise; 0 or more.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"no change of pictures is called {kind!r}; take one of {', '.join(KINDS)}")
    frames = media.detach().flatten(0, -4)  # [b * t, 3, h, w]
    return KINDS[kind](frames, derive("perturb", kind, seed)).reshape(media.shape)


def shift(frames: Tensor, seed: int) -> Tensor:
    """Move pictures sideways and up or down; edges are repeated."""
    height, width = frames.shape[-2:]
    down, right = (
        max(1, round(SHIFT * side)) * (1 if seed >> bit & 1 else -1) for bit, side in ((0, height), (1, width))
    )
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    return frames[..., rows.to(frames.device), :][..., columns.to(frames.device)]


def crop(frames: Tensor, seed: int) -> Tensor:
    """Cut a border off, and enlarge the rest to the old size."""
    height, width = frames.shape[-2:]
    tall, wide = (max(1, min(round(KEPT * side), side - 1)) for side in (height, width))
    top, left = seed % (height - tall + 1), (seed >> 16) % (width - wide + 1)
    part = frames[..., top : top + tall, left : left + wide]
    return interpolate(part, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def noise(frames: Tensor, seed: int) -> Tensor:
    """Add Gaussian noise, the same to each picture."""
    return (frames + SIGMA * randn([seed], frames.shape[1:]).to(frames)).clamp(0, 1)


def jpeg(frames: Tensor, seed: int) -> Tensor:
    """Compress pictures as JPEG; of pictures with NaN nothing is left."""
    return torch.stack([compressed(frame, QUALITY - seed % 10) for frame in frames])


def compressed(frame: Tensor, quality: int) -> Tensor:
    """One picture [3, h, w] through JPEG."""
    if not frame.isfinite().all():
        return torch.full_like(frame, torch.nan)
    pixels = frame.float().cpu().mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    again = np.asarray(Image.open(file), dtype=np.float32) / 255
    return torch.from_numpy(again).permute(2, 0, 1).to(frame)


KINDS: dict[str, Callable[[Tensor, int], Tensor]] = {"shift": shift, "crop": crop, "noise": noise, "jpeg": jpeg}
