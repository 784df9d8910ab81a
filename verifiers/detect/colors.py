"""Colours of detected objects as GenEval names them: zero-shot CLIP on the masked and cropped object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from verifiers.detect.geneval import Detection, Image
from verifiers.embedding.clip import CLIPScore
from verifiers.types import Device
from verifiers.vlm.decompose import COLORS

MODEL, TAG = "ViT-L-14", "openai"  # loaded with the QuickGELU that its weights were trained with
BACKGROUND = 0x99
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


class ClipColors:
    """Names the likeliest colour of each object (GenEval, Ghosh et al. 2023, arXiv:2310.11513); there is no "none".

    Pixels outside an object's mask become grey (#999999), if it has a mask. The picture is cropped to the box, and CLIP
    compares it with the mean of three texts for each colour. Objects go through CLIP one by one.

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
            ValueError: as `CLIPScore.load`.
        """
        return cls(CLIPScore.load(MODEL, TAG, name=f"clip:{MODEL}@{TAG}", device=device))

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
            pixels = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
            cosines = self.clip.score(pixels, self.texts[name])
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
