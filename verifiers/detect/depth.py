"""How near each pixel of a picture is, by DPT (Ranftl et al. 2021, arXiv:2103.13413) or Depth Anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from verifiers.card import Card
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device

CARD = Card(
    checkpoint="Intel/dpt-hybrid-midas",
    licence="Apache-2.0",
    input="pictures",
    range="0 to 255, larger is nearer",
    size="123M parameters",
    price="1 pass",
)


class Depth:
    """A depth map of 8 bits, stretched to its whole range, as T2I-CompBench stores it.

    Args:
        model: a depth estimator of transformers that returns inverse depth; it is frozen and set to eval mode.
        preprocess: from pictures in [0, 1] to its input; they are squashed to a square.
    """

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.preprocess = preprocess

    @classmethod
    def load(cls, source: str = CARD.checkpoint, *, device: Device = "cpu", side: int = 0) -> Depth:
        """Load model and normalisation from safetensors; no remote code is run.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            device: where the model runs.
            side: of its input in pixels; 0 for that of its processor.
        """
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        model = AutoModelForDepthEstimation.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
        size = side or int(processor.size["height"])
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        return cls(model.to(device), Preprocess(size, mean, std, "bicubic", squash=True))

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> np.ndarray:
        """Return the depth map, uint8 [h, w]; a flat one is 0.

        Args:
            picture: [3, h, w] in [0, 1], finite.
        """
        weight = next(self.model.parameters())
        pixels = self.preprocess(picture[None].to(weight.device, torch.float32)).to(weight.dtype)
        found = self.model(pixel_values=pixels).predicted_depth.float()
        found = interpolate(found[None], picture.shape[-2:], mode="bicubic", align_corners=False)[0, 0]
        low, high = found.min(), found.max()
        stretched = (found - low) / (high - low) if high > low else torch.zeros_like(found)
        return (stretched * 255).round().byte().cpu().numpy()
