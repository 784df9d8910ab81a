"""Differentiable preprocessing for image encoders: resize, crop, normalise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocess:
    """A PIL-based evaluation transform on tensors, with gradients; the defaults are OpenAI CLIP's.

    Nothing is rounded or clipped on the way, so bicubic overshoot stays. On pictures without hard edges the result is
    within 1.5/255 (before normalising) of the PIL path.

    Attributes:
        size: side of the result in pixels.
        mean: mean of each channel of pixels in [0, 1].
        std: standard deviation of each channel.
        interpolation: mode of `torch.nn.functional.interpolate`, antialiased.
        squash: resize both sides to `size`; otherwise resize the shorter side and crop the centre.
    """

    size: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    squash: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return normalised pictures [b, 3, size, size] of the same dtype and device.

        Args:
            images: pictures [b, 3, h, w] in [0, 1].
        """
        height, width = images.shape[-2:]
        short = min(height, width)
        target = [self.size if self.squash else self.size * side // short for side in (height, width)]
        x = interpolate(images, target, mode=self.interpolation, antialias=True, align_corners=False)
        top, left = (round((side - self.size) / 2) for side in target)
        x = x[..., top : top + self.size, left : left + self.size]
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.mean, self.std))
        return (x - mean) / std
