"""Colours of detected objects as GenEval names them: zero-shot CLIP on the masked and cropped object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as Pictures
from torch import Tensor, nn
from torch.nn.functional import normalize

from verifiers.detect.geneval import Detection, Image
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device
from verifiers.vlm.decompose import COLORS

MODEL, TAG = "ViT-L-14-quickgelu", "openai"
BACKGROUND = 0x99
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


class ClipColors:
    """Names the likeliest colour of each object (GenEval, Ghosh et al. 2023, arXiv:2310.11513); there is no "none".

    Pixels outside an object's mask become grey (#999999), if it has a mask. The picture is cropped to the box, and CLIP
    compares it with the mean of three texts for each colour. Objects are resized in 8 bits, as by PIL, and go through
    CLIP one by one.

    Args:
        clip: any open_clip model; GenEval takes OpenAI's ViT-L-14.
        colors: names to choose from.
    """

    def __init__(self, clip: CLIPScore, colors: Sequence[str] = COLORS) -> None:
        self.clip, self.colors = clip, tuple(colors)
        self.texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, device: Device = "cpu") -> ClipColors:
        """Load OpenAI's ViT-L-14 from open_clip.

        Args:
            device: where it runs.

        Raises:
            ValueError: as `CLIPScore.load`, and if the network was built with another activation than QuickGELU.
        """
        clip = CLIPScore.load(MODEL, TAG, name=f"clip:{MODEL}@{TAG}", device=device)
        require_quick_gelu(clip.model)
        return cls(clip)

    @torch.no_grad()
    def __call__(self, image: Image, name: str, detections: Sequence[Detection]) -> list[str | None]:
        """Return the colour of each object; None for a box without a pixel.

        Args:
            image: uint8 [h, w, 3], RGB.
            name: of the class.
            detections: objects of it.
        """
        if name not in self.texts:
            self.texts[name] = torch.stack([self.described(color, name) for color in self.colors])
        found: list[str | None] = []
        for detection in detections:
            crop = cut_out(image, detection)
            if crop is None:
                found.append(None)
                continue
            cosines = self.clip.score(resized(crop, self.clip.preprocess), self.texts[name])
            found.append(self.colors[int(cosines.argmax())])
        return found

    def described(self, color: str, name: str) -> Tensor:
        """Return the unit text features [d] of a colour of a class.

        Args:
            color: its name.
            name: of the class.
        """
        texts = [text.replace("{color}", color).replace("{name}", name) for text in TEMPLATES]
        return normalize(torch.stack([self.clip.encode_prompt(text) for text in texts]).mean(0), dim=0)


def cut_out(image: Image, detection: Detection) -> np.ndarray | None:
    """Return the pixels in the box of an object, uint8 [h, w, 3], grey outside its mask; None for an empty box.

    Args:
        image: uint8 [h, w, 3], RGB.
        detection: the object; the edges of its box are rounded to whole pixels.
    """
    x1, y1, x2, y2 = (max(round(edge), 0) for edge in detection.box)
    shown = image if detection.mask is None else np.where(detection.mask[..., None], image, np.uint8(BACKGROUND))
    crop = np.ascontiguousarray(shown[y1:y2, x1:x2])
    return crop if crop.size else None


def resized(crop: np.ndarray, preprocess: Preprocess) -> Tensor:
    """Return an object in the size of the image encoder [1, 3, size, size], in [0, 1], as open_clip resizes and crops.

    Args:
        crop: uint8 [h, w, 3], RGB.
        preprocess: of the image encoder.
    """
    height, width = crop.shape[:2]
    size, short = preprocess.size, min(height, width)
    high, wide = (size, size) if preprocess.squash else (size * height // short, size * width // short)
    top, left = round((high - size) / 2), round((wide - size) / 2)
    filters = {"bicubic": Pictures.Resampling.BICUBIC, "bilinear": Pictures.Resampling.BILINEAR}
    whole = Pictures.fromarray(crop).resize((wide, high), filters[preprocess.interpolation])
    pixels = np.array(whole.crop((left, top, left + size, top + size)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def require_quick_gelu(model: nn.Module) -> None:
    """Check the activation of a network that OpenAI's weights were loaded into.

    Args:
        model: of open_clip.

    Raises:
        ValueError: for any other than QuickGELU: its cosines, and so the colours, would be wrong.
    """
    found = sorted({type(m).__name__ for m in model.modules() if "gelu" in type(m).__name__.lower()})
    if found != ["QuickGELU"]:
        raise ValueError(
            f"this CLIP was built with {' and '.join(found) or 'no GELU'}, its weights were trained with QuickGELU; "
            f"load {MODEL} of open_clip"
        )
