"""CLIPScore: the cosine similarity of a picture and its prompt, by any open_clip model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from verifiers.card import Card
from verifiers.embedding.base import Embedding
from verifiers.embedding.openclip import load, token_count
from verifiers.types import Device

CARD = Card(
    checkpoint="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    licence="MIT",
    input="pictures",
    range="-1 to 1, typically 0.2 to 0.35",
    size="151M parameters",
    price="1 pass of ViT-B/32",
    differentiable=True,
)


class CLIPScore(Embedding):
    """Cosine of image and text features, in [-1, 1] (CLIPScore, Hessel et al. 2021, arXiv:2104.08718).

    The paper's factor 2.5 and its clipping at 0 are left out. Matching photographs usually score 0.2 to 0.4. Otherwise
    as `Embedding`.

    Args:
        model: an open_clip model; it is frozen and set to eval mode.
        tokenizer: its open_clip tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports; "clip" if empty.
        batch_size: pictures in one physical batch, at least 1.
    """

    kind = "clip"

    @classmethod
    def load(
        cls,
        model: str | Path,
        pretrained: str | None = None,
        *,
        device: Device = "cpu",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> Self:
        """Load a local folder, or an open_clip architecture with pretrained weights.

        Weights that were trained with QuickGELU, such as OpenAI's, get it under every spelling of the architecture.

        Args:
            model: a folder with `open_clip_config.json` and `open_clip_model.safetensors`, or an architecture.
            pretrained: a tag of the architecture, or the path of a safetensors file; not for a folder.
            device: where the model runs.
            dtype: precision of the model; features are compared in fp32 or better.
            **options: `name` and `batch_size` of the class.

        Raises:
            ValueError: for unknown names, for files that are missing, damaged or do not belong together, and for
                pickled weights.
        """
        return cls(*load(model, pretrained, device=device, dtype=dtype), **options)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return the features [n, d] of prepared pictures.

        Args:
            pixels: the input of the image encoder [n, 3, size, size].
        """
        features: Tensor = self.model.encode_image(pixels)
        return features

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return the unit text features [d] of a prompt, encoded in a batch of one.

        Args:
            prompt: any text; a warning says if it is longer than the context of the text encoder.
        """
        self.say_if_cut(prompt, token_count(self.tokenizer, prompt), self.tokenizer.context_length)
        with torch.no_grad():
            features: Tensor = self.model.encode_text(self.tokenizer([prompt]).to(self.device))
            return normalize(features.to(self.precise), dim=-1)[0]
