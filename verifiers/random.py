"""A judge that knows nothing: the control that no search may gain against."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from verifiers.types import Media, Scores


class RandomScore:
    """Independent uniform scores in [0, 1) that depend only on a sample's content and the seed.

    The same picture always gets the same score; the prompt does not matter. Non-finite media score NaN.
    """

    differentiable = False

    def __init__(self, seed: int = 0, *, name: str = "random") -> None:
        self.seed = seed
        self.name = name

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures or clips [b, ...]; fp32, on the media's device."""
        drawn = [self.draw(sample) for sample in media.detach().float().cpu()]
        total = torch.tensor(drawn, dtype=torch.float32, device=media.device)
        return Scores(total, {self.name: total})

    def draw(self, sample: Tensor) -> float:
        """One uniform number from the bytes of one sample; 24 bits, exact in fp32."""
        if not bool(sample.isfinite().all()):
            return float("nan")
        key = self.seed.to_bytes(8, "little", signed=True)
        digest = hashlib.blake2b(sample.contiguous().numpy().tobytes(), digest_size=3, key=key).digest()
        return int.from_bytes(digest, "little") / 2**24
