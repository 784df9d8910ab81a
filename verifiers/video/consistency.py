"""Subject and background consistency: how alike the frames of a clip are to an image encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from verifiers.batches import physical_batches
from verifiers.card import Card
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device, Media, Scores
from verifiers.video.clips import clip_by_clip

CARD = Card(
    checkpoint="facebook/dinov2-base (subject), open_clip ViT-B-32 laion2b_s34b_b79k (background)",
    licence="Apache-2.0 (subject), MIT (background)",
    input="clips",
    range="0 to 1, usually above 0.8; 1 for a still clip",
    size="86M parameters (subject), 88M of the image encoder (background)",
    price="1 pass of ViT-B for each frame of a clip",
    differentiable=True,
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224  # pixels


class Consistency:
    """Mean cosine of the features of each frame to those of the first and of the previous frame, in [0, 1].

    Subject consistency (DINO) and background consistency (CLIP) of VBench (Huang et al. 2023, arXiv:2311.17982):
    negative cosines count as 0, and a clip of a single frame scores 1. Checkpoints differ from VBench's, so scores are
    not those of its leaderboard. A clip that stands still scores 1: report `motion` beside it. Differentiable. The
    score does not depend on the prompt.

    Args:
        encode: from prepared pictures [n, 3, size, size] to features [n, d].
        preprocess: from pictures in [0, 1] to the input of the encoder.
        model: the network behind `encode`; it is frozen and set to eval mode.
        name: the verifier's name in logs and reports.
        frames_per_batch: frames in one physical batch, at least 1.
    """

    differentiable = True
    batch_size = 1  # clips

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        preprocess: Preprocess,
        model: nn.Module,
        *,
        name: str,
        frames_per_batch: int = 8,
    ) -> None:
        self.encode, self.preprocess = encode, preprocess
        self.model = model.eval().requires_grad_(False)
        self.name, self.frames_per_batch = name, frames_per_batch
        weight = next(model.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @classmethod
    def dino(cls, source: str, *, name: str = "subject_consistency", device: Device = "cpu") -> Consistency:
        """Load a DINO of transformers, which keeps track of the subject; no remote code is run.

        Args:
            source: a name on the Hugging Face hub, or a local folder, with safetensors.
            name: the verifier's name in logs and reports.
            device: where the model runs.
        """
        from transformers import AutoModel

        model = AutoModel.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
        return cls.of_dino(model.to(device), name=name)

    @classmethod
    def of_dino(cls, model: Any, *, name: str = "subject_consistency", frames_per_batch: int = 8) -> Consistency:
        """Score by the first token of a vision transformer.

        Args:
            model: a vision transformer of transformers with a class token, such as `Dinov2Model`.
            name: the verifier's name in logs and reports.
            frames_per_batch: frames in one physical batch, at least 1.
        """

        def encode(pixels: Tensor) -> Tensor:
            features: Tensor = model(pixel_values=pixels).last_hidden_state[:, 0]
            return features

        prepare = Preprocess(SIZE, IMAGENET_MEAN, IMAGENET_STD)
        return cls(encode, prepare, model, name=name, frames_per_batch=frames_per_batch)

    @classmethod
    def clip(
        cls,
        model: str,
        pretrained: str | None = None,
        *,
        name: str = "background_consistency",
        device: Device = "cpu",
    ) -> Consistency:
        """Load a CLIP, which describes the whole scene.

        Args:
            model: an open_clip architecture, or a local folder.
            pretrained: a tag of the architecture; not for a folder.
            name: the verifier's name in logs and reports.
            device: where the model runs.

        Raises:
            ValueError: as `CLIPScore.load`.
        """
        from verifiers.embedding.clip import CLIPScore

        loaded = CLIPScore.load(model, pretrained, device=device)
        return cls(loaded.model.encode_image, loaded.preprocess, loaded.model, name=name)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score clips, on their device.

        Args:
            media: clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts, which do not matter.
            progress: ignored.

        Raises:
            ValueError: for pictures, and for another number of prompts.
        """
        total = clip_by_clip(self.name, media, prompts, 1, lambda clip, _: likeness(self.features(clip))[None])[:, 0]
        return Scores(total, {self.name: total.detach()})

    def features(self, clip: Tensor) -> Tensor:
        """Return the unit features [t, d] of the frames of a clip.

        Args:
            clip: frames [t, 3, h, w] in [0, 1].
        """
        batches = physical_batches(len(clip), self.frames_per_batch)
        pixels = clip.to(self.device, torch.promote_types(self.dtype, torch.float32))
        found = torch.cat([self.encode(self.preprocess(pixels[rows]).to(self.dtype)) for rows in batches])
        return normalize(found[: len(clip)].to(clip.dtype), dim=-1)


def likeness(features: Tensor) -> Tensor:
    """Return the mean of the cosines of each frame to the first and to the previous one; 1 for a single frame.

    Args:
        features: unit features of the frames [t, d], in their order.
    """
    if len(features) == 1:
        return features.sum() * 0 + 1
    first = (features[1:] * features[:1]).sum(-1).clamp(min=0)
    previous = (features[1:] * features[:-1]).sum(-1).clamp(min=0)
    return ((first + previous) / 2).mean()
