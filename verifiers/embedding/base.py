"""What verifiers on embeddings share: physical batches, pictures that cannot be scored, prompts that are read once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from verifiers.batches import physical_batches, require_pictures
from verifiers.embedding.preprocess import Preprocess
from verifiers.types import Media, Scores

REMEMBERED_PROMPTS = 4096


class Embedding:
    """A score of the embedding of a picture; a subclass says how it is computed.

    Differentiable with respect to the pixels. Pictures go through the model in physical batches of few sizes, so the
    bits of a score do not depend on the other pictures; recording gradients may change the last bits. A picture with a
    non-finite pixel scores NaN. The model may run in half precision; pictures are prepared and scores are computed from
    its features in fp32 or better.

    Args:
        model: the network; it is frozen and set to eval mode.
        tokenizer: of its text encoder; None if it has none.
        preprocess: from pictures in [0, 1] to the input of the image encoder.
        name: the verifier's name in logs and reports; its kind if empty.
        batch_size: pictures in one physical batch, at least 1.
    """

    differentiable = True
    kind: ClassVar[str]  # first part of the verifier's name, kind:source

    def __init__(
        self, model: nn.Module, tokenizer: Any, preprocess: Preprocess, *, name: str = "", batch_size: int = 8
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name or self.kind
        self.batch_size = batch_size
        weight = next(weight for weight in model.parameters() if weight.ndim > 1)  # scales stay in fp32
        self.device, self.dtype = weight.device, weight.dtype
        self.precise = torch.promote_types(self.dtype, torch.float32)
        self.text_features = lru_cache(REMEMBERED_PROMPTS)(self.encode_prompt)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, for another number of prompts, and for pixels that are whole numbers.
        """
        require_pictures(self.name, media, prompts)
        finite = media.sum((1, 2, 3), dtype=torch.float32).isfinite()  # one pass; a sum hides no NaN and no infinity
        clean = torch.where(finite[:, None, None, None], media, 0)
        text = torch.stack([self.text_features(prompt) for prompt in prompts])
        batches = physical_batches(len(media), self.batch_size)
        total = torch.cat([self.score(clean[rows], text[rows]) for rows in batches])[: len(media)]
        total = total.to(media.device).masked_fill(~finite, torch.nan)
        return Scores(total, {self.name: total.detach()})

    def score(self, images: Tensor, text: Tensor) -> Tensor:
        """Return the scores [n] of one physical batch; the cosines of its pictures and prompts by default.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
            text: what `encode_prompt` returns for each, stacked.
        """
        return (self.unit_features(images) * text).sum(-1)

    def unit_features(self, images: Tensor) -> Tensor:
        """Return the unit features [n, d] of pictures, in fp32 or better.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
        """
        return normalize(self.image_features(self.prepared(images)).to(self.precise), dim=-1)

    def prepared(self, images: Tensor) -> Tensor:
        """Return the input of the image encoder, in its precision and on its device.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
        """
        return self.preprocess(images.to(self.device, self.precise)).to(self.dtype)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return the features [n, d] of prepared pictures.

        Args:
            pixels: the input of the image encoder [n, 3, size, size].
        """
        raise NotImplementedError("a subclass says how a picture is encoded")

    def encode_prompt(self, prompt: str) -> Tensor:
        """Return what `score` needs of a prompt; nothing, [0], for verifiers that ignore it.

        Args:
            prompt: any text.
        """
        return torch.empty(0, device=self.device)

    def say_if_cut(self, prompt: str, length: int, room: int) -> None:
        """Warn of a prompt that is longer than the text encoder.

        Args:
            prompt: any text.
            length: its number of tokens, start and end included.
            room: how many of them the text encoder reads.
        """
        if length > room:
            warnings.warn(
                f"{self.name} reads {room} tokens and this prompt has {length}: the end of {prompt[:60]!r}... "
                "does not count. Shorten it or take a verifier with a longer context.",
                UserWarning,
                stacklevel=2,
            )
