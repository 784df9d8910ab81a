"""A clip in progress: a chain of chunks, with what it is continued from.

Each chunk is generated once and never changed; a branch is one more link to the same chain. The network's cache of a
clip and the decoder's state are held by a `ClipCache`, which is freed with the last state that can go on from there:
pruned clips, and chunks that nothing will follow, hold no cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gensearch.core.types import Rows


@dataclass(eq=False)
class Chunk:
    """One chunk of a clip and, through `before`, all that precede it; branches share it.

    Attributes:
        prompt: Of the clip.
        sample: [c, t, h, w], in the model's own space.
        before: The chunk before; None for the first.
        size: Of the physical batch that it was generated in.
        frames: [t, 3, h, w] in [0, 1], of this chunk alone, once decoded.
    """

    prompt: str
    sample: Tensor
    before: Chunk | None = None
    size: int = 1
    frames: Tensor | None = None

    def clip(self) -> tuple[Chunk, ...]:
        """The chunks up to this one, in order."""
        return (*(self.before.clip() if self.before else ()), self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Chunk):
            return NotImplemented
        mine, theirs = self.clip(), other.clip()
        return len(mine) == len(theirs) and all(
            a.prompt == b.prompt and torch.equal(a.sample, b.sample) for a, b in zip(mine, theirs, strict=True)
        )

    __hash__ = object.__hash__


@dataclass(eq=False)
class DecoderState:
    """The state of a causal decoder after a chunk.

    Attributes:
        before: That of the chunk before, until this chunk is decoded.
        kept: What the next chunk is decoded with.
        decoded: Whether this chunk has been decoded from here.
    """

    before: DecoderState | None = None
    kept: Any = None
    decoded: bool = False


@dataclass(eq=False)
class ClipCache:
    """What a clip is continued with. It can be computed from the clip, so that any two compare equal.

    Attributes:
        decoder: The state of the decoder after the clip.
        memory: The network's cache of the clip, once it has been encoded.
    """

    decoder: DecoderState
    memory: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClipCache)

    __hash__ = object.__hash__


def without_caches(clips: Sequence[Chunk]) -> Rows:
    """An empty `ClipCache` for each clip; rows with the same clip share one.

    Args:
        clips: Given by their last chunks.
    """
    decoders: dict[int, DecoderState] = {}
    caches: dict[int, ClipCache] = {}
    for clip in clips:
        decoder = None
        for chunk in clip.clip():
            decoder = decoders.setdefault(id(chunk), DecoderState(decoder))
        caches.setdefault(id(clip), ClipCache(decoder or DecoderState()))
    return Rows(caches[id(clip)] for clip in clips)


def padded(samples: Sequence[Tensor], longest: int) -> Tensor:
    """Samples in one tensor [b, c, longest, *], with zeros at the end of shorter ones.

    Args:
        samples: b of them, [c, t, *] each.
        longest: The least length of the result.
    """
    size = max(longest, *(sample.shape[1] for sample in samples))
    room = samples[0].new_zeros(len(samples), len(samples[0]), size, *samples[0].shape[2:])
    for row, sample in zip(room, samples, strict=True):
        row[:, : sample.shape[1]] = sample
    return room
