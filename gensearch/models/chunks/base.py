"""What models of chunks share: clips as chains of chunks that branches share, and one physical batch at a time.

A clip in progress is a chain of chunks, each made once and never changed; a branch is one more link to the same chain.
What a network remembers of a clip and what its decoder needs to go on lie on a `Desk`, which goes when the last state
that can go on from there goes: pruned clips, and chunks that nothing will follow, keep no memory.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from gensearch.core.ledger import Cost
from gensearch.core.types import Noise, Rows, State
from gensearch.models.batching import check_noise, grouped, refuse_finished
from verifiers.types import Media


@dataclass(eq=False)
class Chunk:
    """One chunk of a clip and, through `before`, all that precede it; branches share it."""

    prompt: str
    sample: Tensor  # in the model's own space
    before: Chunk | None = None
    size: int = 1  # of the physical batch it was made in
    frames: Tensor | None = None  # [t, 3, h, w] in [0, 1], of this chunk alone, once shown

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
class Film:
    """What a decoder keeps after a chunk; `before` is that of the chunk before, until this one has been shown."""

    before: Film | None = None
    kept: Any = None
    shown: bool = False


@dataclass(eq=False)
class Desk:
    """What is at hand to go on with a clip. It follows from the clip, so that any two are equal."""

    film: Film
    memory: Any = None  # what the network keeps of the clip, once it has been read

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Desk)

    __hash__ = object.__hash__


class Chunks(ABC):
    """A generator of clips, chunk by chunk; subclasses say how one physical batch is made, read and shown.

    Every chunk takes `nfe_per_step` passes, and those after the first `reading` more to read what precedes them, which
    is read once for all that go on from it. Runs without gradients, whatever the caller's mode.
    """

    verbs = frozenset({"branch", "chunks"})
    name: str
    noise_shape: tuple[int, ...]
    num_steps: int
    nfe_per_step: int
    batch_size: int
    frames: tuple[int, ...]
    reading = 0
    longest = 0  # length of the longest chunk's sample [c, t, *], where they differ
    causal = True
    rolling = False  # whether a chunk is shown with what the decoder kept of the one before
    book: Callable[[Cost, Cost], None] = staticmethod(lambda spent, filled: None)

    @abstractmethod
    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        """One physical batch of new chunks' samples, by row, of clips of equal length; noise [batch, *noise_shape]."""

    @abstractmethod
    def _show(self, chunk: Chunk, film: Any) -> tuple[Tensor, Any]:
        """The frames [t, 3, h, w] of a chunk, those before it shown already, and what the next one is shown with."""

    def _read(self, chunks: Sequence[Chunk]) -> Sequence[Any]:
        """What the network keeps of one physical batch of clips of equal length."""
        return [True] * len(chunks)

    @property
    def stochastic(self) -> bool:
        """Whether there is a second chunk, made from noise of its own."""
        return self.num_steps > 1

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """What each chunk of a clip made alone costs."""
        own = Cost(nfe=self.nfe_per_step)
        return (own, *[own.plus(Cost(nfe=self.reading))] * (self.num_steps - 1))

    def booked(self, book: Callable[[Cost, Cost], None]) -> Self:
        """The same model, telling `book` of the rows of every network pass: those of samples, and of padding."""
        other = copy.copy(self)
        other.book = book
        return other

    def due(self, state: State) -> Cost:
        """What `advance` takes: a chunk for each row, and one reading for each clip that was not read before."""
        unread = {id(desk) for desk in state.extra["desk"] if desk.memory is None}
        return Cost(nfe=len(state) * self.nfe_per_step + len(unread) * self.reading)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """The first chunk of every row."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        step = torch.zeros(len(prompts), dtype=torch.long)
        return self._grow(tuple(prompts), step, [None] * len(prompts), [None] * len(prompts), noise)

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """The next chunk of every row."""
        refuse_finished(state)
        if noise is None:
            raise ValueError(f"{self.name} makes every chunk from noise of its own: give noise for every row")
        check_noise(self.name, self.noise_shape, state.prompts, noise)
        return self._grow(state.prompts, state.step, state.extra["clip"], state.extra["desk"], noise)

    @torch.no_grad()
    def render(self, state: State) -> Media:
        """What there is of every clip, [b, t, 3, h, w] in [0, 1]; raises ValueError for clips of several lengths."""
        if len(set(state.step.tolist())) > 1:
            raise ValueError(f"clips of {sorted(set(state.step.tolist()))} chunks are no one batch; render them apart")
        for chunk, desk in zip(state.extra["clip"], state.extra["desk"], strict=True):
            if chunk.frames is None:
                self._expose(chunk, desk.film)
        return torch.stack([torch.cat([part.frames for part in chunk.clip()]) for chunk in state.extra["clip"]])

    def rest(self, state: State) -> State:
        """The same clips with nothing at hand to go on: what is kept of them is made anew if they do."""
        return replace(state, extra={**state.extra, "desk": cleared(state.extra["clip"])})

    def stand_in(self) -> Chunks:
        """A model with the same chunks and costs that runs no network, for dry runs."""
        return StandIn(self)

    # --- inside

    def _expose(self, chunk: Chunk, film: Film) -> None:
        """Show a chunk, and before it those that were not shown yet."""
        kept = self._kept(chunk.before, film.before) if chunk.before and film.before else None
        frames, film.kept = self._show(chunk, kept)
        chunk.frames = frames if chunk.frames is None else chunk.frames
        film.before, film.shown = None, True

    def _kept(self, chunk: Chunk, film: Film) -> Any:
        """What the decoder keeps after a chunk; those at rest are shown once more for it, if it goes on from that."""
        if not film.shown and (chunk.frames is None or self.rolling):
            self._expose(chunk, film)
        return film.kept

    @torch.no_grad()
    def _grow(
        self,
        prompts: Sequence[str],
        step: Tensor,
        clips: Sequence[Chunk | None],
        desks: Sequence[Desk | None],
        noise: Noise,
    ) -> State:
        made: dict[int, Tensor] = {}
        together: dict[int, int] = {}  # the size of the physical batch that a row was made in
        for length in dict.fromkeys(step.tolist()):
            alike = [row for row, own in enumerate(step.tolist()) if own == length]
            if length:
                self._read_all([(clips[row], desks[row]) for row in alike])
            for keep, rows in grouped(alike, self.batch_size):
                memory = [desk.memory if (desk := desks[row]) else None for row in rows]
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
        extra = {"clip": links, "sizes": sizes, "desk": Rows(Desk(Film(desk.film if desk else None)) for desk in desks)}
        return State(tuple(prompts), step + 1, self.num_steps, noise, padded(samples, self.longest), extra)

    def _read_all(self, places: Sequence[Any]) -> None:
        """Read the clips of equal length that were not read yet, each once."""
        unread = list({id(desk): (chunk, desk) for chunk, desk in places if desk.memory is None}.values())
        for chunk, desk in unread:  # one by one, so that what is remembered does not depend on who else is read
            (desk.memory,) = self._read([chunk])
            self.book(Cost(nfe=self.reading), Cost())


class StandIn(Chunks):
    """The stand-in for a chunk-autoregressive video model: frames of four pixels, made and read without a network."""

    noise_shape = (3, 2, 2)

    def __init__(self, model: Chunks) -> None:
        """Take over what the cost of a clip depends on."""
        for name in ("name", "verbs", "num_steps", "nfe_per_step", "batch_size", "frames", "reading", "causal"):
            setattr(self, name, getattr(model, name))

    def fingerprint(self) -> dict[str, Any]:
        """Whose cost it has."""
        return {"stands in for": self.name}

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        return noise[:, :, None]

    def _show(self, chunk: Chunk, film: Any) -> tuple[Tensor, Any]:
        clip = chunk.clip()
        frames = clip[0].sample.transpose(0, 1).sigmoid()  # of the first chunk: a clip's prefixes score the same
        return frames.expand(self.frames[len(clip) - 1], -1, -1, -1), None


def cleared(clips: Sequence[Chunk]) -> Rows:
    """A desk with nothing on it for each clip, one for all rows that share it."""
    films: dict[int, Film] = {}
    desks: dict[int, Desk] = {}
    for clip in clips:
        film = None
        for chunk in clip.clip():
            film = films.setdefault(id(chunk), Film(film))
        desks.setdefault(id(clip), Desk(film or Film()))
    return Rows(desks[id(clip)] for clip in clips)


def padded(samples: Sequence[Tensor], longest: int) -> Tensor:
    """Samples [c, t, *] in one tensor [b, c, longest, *], with zeros at the end of shorter ones."""
    size = max(longest, *(sample.shape[1] for sample in samples))
    room = samples[0].new_zeros(len(samples), len(samples[0]), size, *samples[0].shape[2:])
    for row, sample in zip(room, samples, strict=True):
        row[:, : sample.shape[1]] = sample
    return room
