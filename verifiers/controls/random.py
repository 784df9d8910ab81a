"""A verifier that knows nothing: the control that no search may gain against."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from verifiers.types import Media, Scores

GRID, LEVELS = 8, 32  # how coarsely a picture is read


class RandomScore:
    """Uniform scores in [0, 1) that depend only on how a sample looks from afar, and on the seed.

    A picture is read as 8-bit pixels, averaged over at most 8x8 cells, in 32 levels. Processors and libraries differ in
    the last bits of a generated picture, and those must not draw another score. The prompt does not matter. Media that
    are not finite score NaN.
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
        """One uniform number from one sample [..., h, w]; 24 bits, exact in fp32."""
        if not bool(sample.isfinite().all()):
            return float("nan")
        key = self.seed.to_bytes(8, "little", signed=True)
        digest = hashlib.blake2b(coarse(sample).numpy().tobytes(), digest_size=3, key=key).digest()
        return int.from_bytes(digest, "little") / 2**24


def coarse(sample: Tensor) -> Tensor:
    """Mean 8-bit value of each cell of a sample [..., h, w], in 32 levels, as uint8."""
    pixels = (sample.clamp(0, 1) * 255).round().double()  # sums of whole numbers: exact in any order
    height, width = pixels.shape[-2:]
    cells = adaptive_avg_pool2d(pixels.reshape(1, -1, height, width), (min(height, GRID), min(width, GRID)))
    return (cells * (LEVELS / 256)).floor().to(torch.uint8)
