"""SigLIP and SigLIP 2: the logit that a picture and its prompt belong together."""

from __future__ import annotations

from typing import Any, ClassVar

from verifiers.card import Card
from verifiers.embedding.dual_encoder import DualEncoder

CARD = Card(
    checkpoint="google/siglip2-base-patch16-224",
    licence="Apache-2.0",
    input="pictures",
    range="any number; its sigmoid is a probability",
    size="375M parameters",
    price="1 pass of ViT-B/16",
    differentiable=True,
)


class SigLIP(DualEncoder):
    """exp(logit_scale) * cosine + logit_bias (SigLIP 2, Tschannen et al. 2025, arXiv:2502.14786).

    Its sigmoid is the probability that picture and prompt belong together. The logit is the score, in the same order,
    because the sigmoid is so near 0 or 1 for most pairs that its gradient vanishes. Prompts are put in lower case and
    padded on the right to the whole context, since the features are those of the last position. Otherwise as
    `Embedding`.

    Args:
        model: a SiglipModel of transformers, also for SigLIP 2 of fixed size; it is frozen and set to eval mode.
        tokenizer: its tokenizer.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports; "siglip" if empty.
        batch_size: pictures in one physical batch, at least 1.
    """

    architecture = "SiglipModel"
    kind = "siglip"
    padding: ClassVar[dict[str, Any]] = {"padding": "max_length", "padding_side": "right"}

    def worded(self, prompt: str) -> str:
        """Return a prompt in lower case.

        Args:
            prompt: any text.
        """
        return prompt.lower()
