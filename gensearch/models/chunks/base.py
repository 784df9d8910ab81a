"""The base of chunk-autoregressive video models: one physical batch at a time, prefixes shared by branches."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from gensearch.core.ledger import Cost
from gensearch.core.types import Noise, Rows, State
from gensearch.models.batching import check_noise, grouped, refuse_finished
from gensearch.models.chunks.clip import Chunk as Chunk
from gensearch.models.chunks.clip import ClipCache, DecoderState, padded, without_caches
from verifiers.types import Media


class Chunks(ABC):
    """A chunk-autoregressive video model; subclasses define how one physical batch is generated, encoded and decoded.

    Every chunk takes `nfe_per_step` forwards, and a chunk after the first `reading` more to encode its prefix, once for
    all branches. Runs without gradients, whatever the caller's mode.

    Attributes:
        frames: Of each chunk.
        reading: Forwards (NFE) that encode a prefix.
        longest: Length t of the longest chunk's sample [c, t, h, w] if they differ; else 0.
        causal: Whether the frames of a prefix keep their bits when the clip goes on.
        rolling: Whether a chunk is decoded with the decoder's state after the one before.
        book: Is called with the rows of every network pass: those of samples, and those of padding.
    """

    verbs = frozenset({"branch", "chunks"})
    name: str
    noise_shape: tuple[int, ...]
    num_steps: int
    nfe_per_step: int
    batch_size: int
    frames: tuple[int, ...]
    reading = 0
    longest = 0
    causal = True
    rolling = False
    book: Callable[[Cost, Cost], None] = staticmethod(lambda spent, filled: None)

    @abstractmethod
    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        """Samples of the next chunk of one physical batch of clips of equal length, one for each row.

        Args:
            prompts: b of them.
            before: The last chunk of each clip, None for new clips.
            memory: The network's cache of each clip, None for new clips.
            noise: [b, *noise_shape].
        """

    @abstractmethod
    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        """The frames [t, 3, h, w] of a chunk, and what the next one is decoded with.

        Args:
            chunk: Whose prefix is decoded already.
            kept: What decoding the chunk before returned; None for the first.
        """

    def _read(self, chunks: Sequence[Chunk]) -> Sequence[Any]:
        """The network's caches of one physical batch of clips of equal length, given by their last chunks."""
        return [True] * len(chunks)

    @property
    def stochastic(self) -> bool:
        """Whether there is a second chunk, which has noise of its own."""
        return self.num_steps > 1

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """What each chunk of a clip costs that shares nothing with others."""
        own = Cost(nfe=self.nfe_per_step)
        return (own, *[own.plus(Cost(nfe=self.reading))] * (self.num_steps - 1))

    def booked(self, book: Callable[[Cost, Cost], None]) -> Self:
        """The same model, which reports every network pass.

        Args:
            book: Is called with the cost of samples and the cost of padding.
        """
        other = copy.copy(self)
        other.book = book
        return other

    def due(self, state: State) -> Cost:
        """What `advance` costs: a chunk for each row, and the encoding of each clip that has no cache yet."""
        unread = {id(cache) for cache in state.extra["cache"] if cache.memory is None}
        return Cost(nfe=len(state) * self.nfe_per_step + len(unread) * self.reading)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """The first chunk of every row."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        step = torch.zeros(len(prompts), dtype=torch.long)
        return self._grow(tuple(prompts), step, [None] * len(prompts), [None] * len(prompts), noise)

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """The next chunk of every row, from noise [b, *noise_shape].

        Raises:
            ValueError: A row is finished, or noise is missing or of another shape.
        """
        refuse_finished(state)
        if noise is None:
            raise ValueError(f"{self.name} makes every chunk from noise of its own: give noise for every row")
        check_noise(self.name, self.noise_shape, state.prompts, noise)
        return self._grow(state.prompts, state.step, state.extra["clip"], state.extra["cache"], noise)

    @torch.no_grad()
    def render(self, state: State) -> Media:
        """The frames of every clip so far, [b, t, 3, h, w] in [0, 1].

        Raises:
            ValueError: The clips have different lengths.
        """
        if len(set(state.step.tolist())) > 1:
            raise ValueError(f"clips of {sorted(set(state.step.tolist()))} chunks are no one batch; render them apart")
        for chunk, cache in zip(state.extra["clip"], state.extra["cache"], strict=True):
            if chunk.frames is None:
                self._decode(chunk, cache.decoder)
        return torch.stack([torch.cat([part.frames for part in chunk.clip()]) for chunk in state.extra["clip"]])

    def rest(self, state: State) -> State:
        """The same clips without caches, which are computed again if the clips go on."""
        return replace(state, extra={**state.extra, "cache": without_caches(state.extra["clip"])})

    def stand_in(self) -> Chunks:
        """A model with the same chunks and costs that runs no network, for dry runs."""
        return StandIn(self)

    # --- inside

    def _decode(self, chunk: Chunk, decoder: DecoderState) -> None:
        """Decode a chunk, and before it those that are not decoded yet."""
        kept = self._kept(chunk.before, decoder.before) if chunk.before and decoder.before else None
        frames, decoder.kept = self._show(chunk, kept)
        chunk.frames = frames if chunk.frames is None else chunk.frames
        decoder.before, decoder.decoded = None, True

    def _kept(self, chunk: Chunk, decoder: DecoderState) -> Any:
        """What the decoder keeps after a chunk; a clip at rest is decoded again for it if the decoder is rolling."""
        if not decoder.decoded and (chunk.frames is None or self.rolling):
            self._decode(chunk, decoder)
        return decoder.kept

    @torch.no_grad()
    def _grow(
        self,
        prompts: Sequence[str],
        step: Tensor,
        clips: Sequence[Chunk | None],
        caches: Sequence[ClipCache | None],
        noise: Noise,
    ) -> State:
        made: dict[int, Tensor] = {}
        together: dict[int, int] = {}  # the size of the physical batch that a row was made in
        for length in dict.fromkeys(step.tolist()):
            alike = [row for row, own in enumerate(step.tolist()) if own == length]
            if length:
                self._read_all([(clips[row], caches[row]) for row in alike])
            for keep, rows in grouped(alike, self.batch_size):
                memory = [cache.memory if (cache := caches[row]) else None for row in rows]
                samples = self._make([prompts[r] for r in rows], [clips[r] for r in rows], memory, noise[rows])
                made |= dict(zip(keep, samples, strict=False))
                together |= dict.fromkeys(keep, len(rows))
                filled = len(rows) - len(keep)
                self.book(Cost(nfe=len(keep) * self.nfe_per_step), Cost(nfe=filled * self.nfe_per_step))
        samples = [made[row] for row in range(len(prompts))]
        links = Rows(map(Chunk, prompts, samples, clips, [together[row] for row in range(len(prompts))]))
        sizes = torch.zeros(len(prompts), self.num_steps, dtype=torch.long)
        for row, link in enumerate(links):
            made_in = [part.size for part in link.clip()]
            sizes[row, : len(made_in)] = torch.tensor(made_in)
        following = Rows(ClipCache(DecoderState(cache.decoder if cache else None)) for cache in caches)
        extra = {"clip": links, "sizes": sizes, "cache": following}
        return State(tuple(prompts), step + 1, self.num_steps, noise, padded(samples, self.longest), extra)

    def _read_all(self, places: Sequence[Any]) -> None:
        """Encode the clips of equal length that have no cache yet, each once."""
        unread = list({id(cache): (chunk, cache) for chunk, cache in places if cache.memory is None}.values())
        for chunk, cache in unread:  # one by one, so that no cache depends on the other clips
            (cache.memory,) = self._read([chunk])
            self.book(Cost(nfe=self.reading), Cost())


class StandIn(Chunks):
    """The stand-in of a chunk-autoregressive video model for dry runs: frames of four pixels, without a network.

    Args:
        model: From which it takes all that the cost of a clip depends on.
    """

    noise_shape = (3, 2, 2)

    def __init__(self, model: Chunks) -> None:
        for name in ("name", "verbs", "num_steps", "nfe_per_step", "batch_size", "frames", "reading", "causal"):
            setattr(self, name, getattr(model, name))

    def fingerprint(self) -> dict[str, Any]:
        """Whose cost it has."""
        return {"stands in for": self.name}

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        return noise[:, :, None]

    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        clip = chunk.clip()
        frames = clip[0].sample.transpose(0, 1).sigmoid()  # of the first chunk: a clip's prefixes score the same
        return frames.expand(self.frames[len(clip) - 1], -1, -1, -1), None
