"""The negative control: pseudo-random scores, which no search can gain by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from verifiers.card import Card
from verifiers.types import Media, Scores

GRID, LEVELS = 8, 32  # cells along one side and grey levels that a picture is reduced to before hashing
CARD = Card(checkpoint="none", licence="none needed", input="pictures and clips", range="0 to 1, uniform")


class RandomScore:
    """Uniform scores in [0, 1): a hash of a sample at low resolution, and of a seed.

    A picture is reduced to 8-bit pixels, averaged over at most 8x8 cells, in 32 levels. So the score does not change
    with the last bits of a generated picture, in which processors and libraries differ. It does not depend on the
    prompt. Media that are not finite score NaN.

    Args:
        seed: selects the hash; a signed 64-bit number.
        name: the verifier's name in logs and reports.
    """

    differentiable = False

    def __init__(self, seed: int = 0, *, name: str = "random") -> None:
        self.seed = seed
        self.name = name

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media in fp32, on their device.

        Args:
            media: pictures or clips [b, ..., h, w] in [0, 1].
            prompts: ignored.
            progress: ignored.
        """
        drawn = [self.draw(sample) for sample in media.detach().float().cpu()]
        total = torch.tensor(drawn, dtype=torch.float32, device=media.device)
        return Scores(total, {self.name: total})

    def draw(self, sample: Tensor) -> float:
        """Return one uniform number in [0, 1) with 24 bits, exact in fp32; NaN if the sample is not finite.

        Args:
            sample: one picture or clip [..., h, w] in [0, 1], fp32 on the CPU.
        """
        if not bool(sample.isfinite().all()):
            return float("nan")
        key = self.seed.to_bytes(8, "little", signed=True)
        digest = hashlib.blake2b(coarse(sample).numpy().tobytes(), digest_size=3, key=key).digest()
        return int.from_bytes(digest, "little") / 2**24


def coarse(sample: Tensor) -> Tensor:
    """Return the mean 8-bit value of each cell in 32 levels, uint8 [1, channels, 8, 8] or fewer cells.

    Args:
        sample: one picture or clip [..., h, w] in [0, 1]; leading dimensions count as channels.
    """
    pixels = (sample.clamp(0, 1) * 255).round().double()  # sums of whole numbers: exact in any order
    height, width = pixels.shape[-2:]
    cells = adaptive_avg_pool2d(pixels.reshape(1, -1, height, width), (min(height, GRID), min(width, GRID)))
    return (cells * (LEVELS / 256)).floor().to(torch.uint8)
