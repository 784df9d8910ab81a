"""PickScore: a CLIP-H that was fine-tuned on choices between two pictures of one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from verifiers.card import Card
from verifiers.embedding.dual_encoder import DualEncoder

CHECKPOINT = "yuvalkirstain/PickScore_v1"
PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"  # the checkpoint was trained with this one's
CARD = Card(
    checkpoint=CHECKPOINT,
    licence="none stated; its base model is MIT",
    input="pictures",
    range="typically 18 to 24",
    size="986M parameters",
    price="1 pass of ViT-H/14",
    differentiable=True,
)


class PickScore(DualEncoder):
    """exp(logit_scale) * cosine of image and text features, usually 18 to 24 (Kirstain et al. 2023, arXiv:2305.01569).

    The softmax over the scores of two pictures is the probability that a person prefers each. Otherwise as `Embedding`.

    Args:
        model: a CLIPModel of transformers; it is frozen and set to eval mode.
        tokenizer: its tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports; "pickscore" if empty.
        batch_size: pictures in one physical batch, at least 1.
    """

    architecture = "CLIPModel"
    kind = "pickscore"
    padding: ClassVar[Mapping[str, Any]] = {}  # a prompt is encoded alone, and features are those of its end

    @classmethod
    def load(cls, source: str | Path = CHECKPOINT, **options: Any) -> Self:
        """Load safetensors from a folder or the hub; the hub's checkpoint takes the processor of its base model.

        Args:
            source: a local folder, or a name on the Hugging Face hub.
            **options: as `DualEncoder.load`.

        Raises:
            ValueError: as `DualEncoder.load`.
        """
        return super().load(source, **{"processor": PROCESSOR if str(source) == CHECKPOINT else None, **options})
