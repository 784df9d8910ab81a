"""CLIP-IQA: whether a picture is closer to "Good photo." or to "Bad photo.", whatever its prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from verifiers.card import Card
from verifiers.embedding.clip import CLIPScore
from verifiers.embedding.preprocess import Preprocess

PAIR = ("Good photo.", "Bad photo.")
SCALE = 100.0  # of cosines in the softmax
CARD = Card(
    checkpoint="open_clip ViT-L-14, openai",
    licence="MIT",
    input="pictures",
    range="0 to 1",
    size="428M parameters",
    price="1 pass of ViT-L/14",
    differentiable=True,
)


class CLIPIQA(CLIPScore):
    """Softmax over a good and a bad description of a picture, in [0, 1].

    CLIP-IQA, Wang et al. 2023, arXiv:2207.12396: exp(100 a) / (exp(100 a) + exp(100 b)), where a and b are the cosines
    of the picture with both descriptions. The paper takes an RN50 without position embeddings, so its values differ
    from those of other models. The score does not depend on the prompt. Otherwise as `Embedding`.

    Args:
        model: an open_clip model; it is frozen and set to eval mode.
        tokenizer: its open_clip tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        pair: the good and the bad description.
        name: the verifier's name in logs and reports.
        batch_size: pictures in one physical batch, at least 1.
    """

    kind = "clipiqa"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        preprocess: Preprocess,
        *,
        pair: tuple[str, str] = PAIR,
        name: str = "",
        batch_size: int = 8,
    ) -> None:
        super().__init__(model, tokenizer, preprocess, name=name, batch_size=batch_size)
        good, bad = (super(CLIPIQA, self).encode_prompt(text) for text in pair)
        self.contrast = good - bad

    def score(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the scores [n] of one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: ignored.
        """
        return (SCALE * (self.unit_features(images) * self.contrast).sum(-1)).sigmoid()

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return nothing, [0]: prompts are ignored.

        Args:
            prompt: any text.
        """
        return torch.empty(0, device=self.device)
