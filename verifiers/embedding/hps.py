"""HPSv2.1: a CLIP that was fine-tuned on human preferences between pictures of one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from verifiers.calls import quoted
from verifiers.card import Card
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.files import Converted, require_layout, settings
from verifiers.embedding.openclip import CONFIG, WEIGHTS
from verifiers.embedding.preprocess import CLIP_MEAN, CLIP_STD

ARCHITECTURE = "ViT-H-14"
ORIGINAL = "HPS_v2.1_compressed.pt"
CARD = Card(
    checkpoint=f"xswu/HPSv2, {ORIGINAL}, converted",
    licence="Apache-2.0",
    input="pictures",
    range="-1 to 1, typically 0.2 to 0.32; not comparable with HPSv2.0",
    size="986M parameters",
    price="1 pass of ViT-H/14",
    differentiable=True,
)


class HPS(CLIPScore):
    """Cosine of image and text features, without a scale, in [-1, 1] (HPSv2, Wu et al. 2023, arXiv:2306.09341).

    Papers often show it times 100. The original resizes tensors bicubically, as this does; whether it antialiases
    depends on its version of torchvision, and this always does. Otherwise as `Embedding`.

    Args:
        model: an open_clip ViT-H-14 with the weights of HPS; it is frozen and set to eval mode.
        tokenizer: its open_clip tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports; "hps" if empty.
        batch_size: pictures in one physical batch, at least 1.
    """

    kind = "hps"

    @classmethod
    def load(cls, model: str | Path, pretrained: str | None = None, **options: Any) -> Self:
        """Load a converted folder.

        Args:
            model: a folder that `gensearch convert hps` wrote.
            pretrained: unused; the folder has the weights.
            **options: `device`, `dtype`, `name` and `batch_size` as of CLIPScore.

        Raises:
            ValueError: for another path, such as that of the original pickle, and for damaged files.
        """
        settings(model, "hps", ORIGINAL, CONFIG)
        return super().load(model, **{"name": f"hps:{quoted(str(model))}", **options})


def from_original(content: Mapping[str, Any]) -> Converted:
    """Translate the original checkpoint, whose tensors have open_clip's names already.

    Args:
        content: of HPS_v2.1_compressed.pt: tensors by name.

    Raises:
        ValueError: for tensors that are not those of an open_clip ViT-H-14.
    """
    import open_clip

    tensors: dict[str, Tensor] = dict(content)
    config = open_clip.get_model_config(ARCHITECTURE)
    with torch.device("meta"):
        network = open_clip.CLIP(**config)
    require_layout(tensors, network.state_dict(), ORIGINAL)
    preprocess = {"size": network.visual.image_size[0], "mean": CLIP_MEAN, "std": CLIP_STD}
    return Converted(
        tensors,
        {"kind": "hps", "model_cfg": config, "preprocess_cfg": preprocess},
        weights=WEIGHTS,
        config=CONFIG,
    )
