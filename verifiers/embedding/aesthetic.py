"""LAION's aesthetic predictors: how much people would like a picture, whatever its prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from verifiers.calls import quoted
from verifiers.card import Card
from verifiers.embedding.base import Embedding
from verifiers.embedding.dual_encoder import network
from verifiers.embedding.files import WEIGHTS, Converted, readable, settings
from verifiers.embedding.head import linear_head, numbered
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Device

BODY = "openai/clip-vit-large-patch14"
ORIGINAL = "sac+logos+ava1-l14-linearMSE.pth"
CARD = Card(
    checkpoint=f"{ORIGINAL} of christophschuhmann/improved-aesthetic-predictor, converted; {BODY}",
    licence="Apache-2.0, CLIP MIT",
    input="pictures",
    range="1 to 10, typically 5 to 6.5",
    size="305M parameters",
    price="1 pass of ViT-L/14",
    differentiable=True,
)


class Scorer(nn.Module):
    """A CLIP image encoder with a reward head on its embedding.

    Args:
        body: a CLIPVisionModelWithProjection of transformers.
        head: from an embedding to one number.
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head


class Aesthetic(Embedding):
    """A linear head on the normalised embedding of a picture by OpenAI's CLIP-L/14, about 1 to 10.

    The improved predictor has five layers (Schuhmann 2022, github.com/christophschuhmann/improved-aesthetic-predictor),
    the first one has one (github.com/LAION-AI/aesthetic-predictor); both are loaded. The score does not depend on the
    prompt. Otherwise as `Embedding`.

    Args:
        model: encoder and head; it is frozen and set to eval mode.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: for an encoder that is no CLIP with QuickGELU, or whose embedding does not fit the head.
    """

    kind = "aesthetic"

    def __init__(self, model: Scorer, preprocess: Preprocess, *, name: str = "", batch_size: int = 8) -> None:
        super().__init__(model, None, preprocess, name=name, batch_size=batch_size)
        config, width = self.model.body.config, self.model.head[0].in_features
        if config.hidden_act != "quick_gelu" or config.projection_dim != width:
            raise ValueError(
                f"{self.name} needs a CLIP with QuickGELU and embeddings of {width} numbers, not "
                f"{config.hidden_act!r} and {config.projection_dim}; set `body` to {BODY} or a copy of it"
            )
        self.model.head.to(self.device, self.precise)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: Device = "cpu", dtype: torch.dtype = torch.float32, **options: Any
    ) -> Self:
        """Load a converted head, and its CLIP from a folder or the hub.

        Args:
            folder: that `gensearch convert aesthetic` wrote; `body` in its gensearch.json names the CLIP.
            device: where both run.
            dtype: precision of the CLIP; the head runs in fp32.
            **options: `name` and `batch_size` of the class.

        Raises:
            ValueError: for another path, such as that of the original pickle, and for damaged files.
        """
        from safetensors.torch import load_file

        body = settings(folder, "aesthetic", ORIGINAL).get("body", BODY)
        with readable(Path(folder) / WEIGHTS):
            head = linear_head(load_file(Path(folder) / WEIGHTS))
        with readable(body):
            encoder = network("CLIPVisionModelWithProjection", body, device, dtype)
        preprocess = Preprocess(encoder.config.image_size)
        return cls(Scorer(encoder, head), preprocess, **{"name": f"aesthetic:{quoted(str(folder))}", **options})

    def score(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the scores [n] of one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: ignored.
        """
        total: Tensor = self.model.head(self.unit_features(images))[:, 0]
        return total

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return the embeddings [n, d] of prepared pictures.

        Args:
            pixels: the input of the image encoder [n, 3, size, size].
        """
        embeddings: Tensor = self.model.body(pixel_values=pixels).image_embeds
        return embeddings


def from_original(content: Mapping[str, Any]) -> Converted:
    """Translate an original head.

    Args:
        content: of sac+logos+ava1-l14-linearMSE.pth, or of sa_0_4_vit_l_14_linear.pth: tensors by name.

    Raises:
        ValueError: for tensors that are not those of such a head.
    """
    return Converted(numbered(content, ORIGINAL), {"kind": "aesthetic", "body": BODY})
