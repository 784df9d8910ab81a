"""A clip generator in closed form: chunks that are good with a known probability and remember what precedes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gensearch.core.types import Noise
from gensearch.models.chunks.base import Chunks
from gensearch.models.chunks.clip import Chunk
from gensearch.models.options import Batch, Count, checked
from verifiers.types import Media

HASH = 8  # bytes of a prefix that a chunk shows


class Painter(nn.Module):
    """Paint chunks: red says whether they are good, green what precedes them, blue their noise."""

    def __init__(self, p: float, frames: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(NormalDist().inv_cdf(p), dtype=torch.float64))
        self.frames = frames

    def forward(self, noise: Noise, prefix: Tensor) -> Tensor:
        """Chunks [b, 3, frames, h, w] from noise [b, 1, h, w] and digests [b, HASH] in [0, 1]."""
        good = (noise[:, 0, 0, 0].double() < self.threshold).float()
        pixels = noise.new_zeros(len(noise), 3, self.frames, noise[0].numel())
        pixels[:, 0] = good[:, None, None]
        pixels[:, 1, :, :HASH] = prefix[:, None]
        pixels[:, 2] = (noise / 16 + 0.5).clamp(0, 1).flatten(1)[:, None]
        return pixels.reshape(*pixels.shape[:3], *noise.shape[2:])


class ToyChunks(Chunks):
    """Clips of `num_steps` chunks, each good with probability `p`: if the first number of its noise is low.

    A chunk also shows a digest of its prompt and of all chunks before it, so that mixed-up prefixes are detected.
    `good` tells which chunks of a clip are good.

    Args:
        num_steps: Chunks of a clip, 1 or more.
        p: The probability that a chunk is good, above 0 and below 1.
        chunk_frames: Frames of a chunk, 1 or more.
        size: Height and width in pixels, 3 or more.
        reading: Forwards (NFE) that encode a prefix, 0 or 1.
        batch_size: The largest physical batch.
    """

    name = "toy/chunks"

    @checked
    def __init__(
        self,
        *,
        num_steps: Count = 4,
        p: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        chunk_frames: Count = 1,
        size: Annotated[int, Field(ge=3)] = 3,
        reading: Annotated[int, Field(ge=0, le=1)] = 0,
        batch_size: Batch = 4,
    ) -> None:
        self.network = Painter(p, chunk_frames)
        self.decoder = nn.Identity()
        self.noise_shape = (1, size, size)
        self.num_steps, self.nfe_per_step, self.batch_size = num_steps, 1, batch_size
        self.reading = reading
        self.frames = (chunk_frames,) * num_steps
        self.p = p

    def fingerprint(self) -> dict[str, Any]:
        """Everything the bits of a sample depend on, less the machine."""
        names = ("name", "num_steps", "p", "frames", "noise_shape", "batch_size")
        return {name: getattr(self, name) for name in names}

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        digests = [
            digest(prompt, chunk) if known is None else known
            for prompt, chunk, known in zip(prompts, before, memory, strict=True)
        ]
        return self.network(noise.float(), torch.tensor([list(known) for known in digests]) / 255)

    def _read(self, chunks: Sequence[Chunk]) -> list[bytes]:
        if self.reading:  # a pass like any other, for its cost
            self.network(torch.zeros(len(chunks), *self.noise_shape), torch.zeros(len(chunks), HASH))
        return [digest(chunk.prompt, chunk) for chunk in chunks]

    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        return self.decoder(chunk.sample[None])[0].transpose(0, 1), None


def digest(prompt: str, chunk: Chunk | None) -> bytes:
    """A few bytes that depend on a prompt and on every chunk up to a given one, since each shows the digest before it.

    Args:
        prompt: Of the clip.
        chunk: The last chunk; None for an empty clip.
    """
    pixels = chunk.sample.numpy().tobytes() if chunk else b""
    return hashlib.blake2b(prompt.encode() + pixels, digest_size=HASH).digest()


def good(media: Media, chunk_frames: int = 1) -> Tensor:
    """Which chunks of toy clips are good, bool [b, chunks].

    Args:
        media: [b, t, 3, h, w].
        chunk_frames: Frames of a chunk.
    """
    return media[:, ::chunk_frames, 0, 0, 0] > 0.5
