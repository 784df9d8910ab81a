"""Differentiable preprocessing for image encoders: resize, crop, normalise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
        floor: whether the offset of the crop is rounded down, as transformers does; torchvision rounds half to even.
    """

    size: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    squash: bool = False
    floor: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return normalised pictures [b, 3, size, size] of the same dtype and device.

        Args:
            images: pictures [b, 3, h, w] in [0, 1].
        """
        height, width = images.shape[-2:]
        short = min(height, width)
        target = [self.size if self.squash else self.size * side // short for side in (height, width)]
        x = interpolate(images, target, mode=self.interpolation, antialias=True, align_corners=False)
        top, left = ((side - self.size) // 2 if self.floor else round((side - self.size) / 2) for side in target)
        x = x[..., top : top + self.size, left : left + self.size]
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.mean, self.std))
        return (x - mean) / std


def from_open_clip(config: Mapping[str, Any]) -> Preprocess:
    """Translate open_clip's preprocessing config.

    Args:
        config: `preprocess_cfg` of an open_clip model.

    Raises:
        ValueError: for inputs that are not square, and for other resize modes than "shortest" and "squash".
    """
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1 or config["resize_mode"] not in ("shortest", "squash"):
        raise ValueError(
            f"cannot prepare pictures of size {size} with resize_mode {config['resize_mode']!r}; "
            "take a model with square input and resize_mode 'shortest' or 'squash'"
        )
    return Preprocess(
        sides.pop(),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        squash=config["resize_mode"] == "squash",
    )


def from_transformers(processor: Any) -> Preprocess:
    """Translate an image processor of transformers that resizes, crops and normalises.

    Args:
        processor: such as a CLIPImageProcessor or a SiglipImageProcessor.

    Raises:
        ValueError: for inputs that are not square, for a crop of another size, and for other filters.
    """
    size, crop = (dict(getattr(processor, name, None) or {}) for name in ("size", "crop_size"))
    side = size.get("shortest_edge") or size.get("height")
    squash = not size.get("shortest_edge")
    cropped = bool(getattr(processor, "do_center_crop", None))
    sides = {side, size.get("width") if squash else side, *([crop["height"], crop["width"]] if cropped else [])}
    filters = {2: "bilinear", 3: "bicubic"}  # PIL's numbers
    resample = int(getattr(processor, "resample", None) or 0)
    if len(sides) > 1 or not side or cropped == squash or resample not in filters:
        raise ValueError(
            f"cannot prepare pictures as {type(processor).__name__} with size {size}, crop {crop if cropped else None} "
            f"and filter {resample}; take a model with square input and a bilinear or bicubic filter"
        )
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    return Preprocess(int(side), mean, std, filters[resample], squash=squash, floor=True)
