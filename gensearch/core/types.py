"""The nouns of a search: Model, State, Verifier, Round, Search; what it comes to is in gensearch.core.result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from verifiers.types import Media, Scores

Noise = Tensor  # [b, *model.noise_shape], standard normal before a search touches it
Recipe = tuple[tuple[Any, ...], ...]  # moves that make one sample's noise again, see gensearch.core.noise


# Physical batch sizes that one sample went through: one for each network step and one for its decoding, or a single one
# for all of them. Its last bits depend on them.
Sizes = tuple[int, ...]


class Rows(tuple[Any, ...]):
    """One opaque thing per row of a state, such as all that a clip holds so far; rows that branch share it uncopied."""


@dataclass(frozen=True)
class State:
    """A batch of samples on their way from noise to media; rows may stand at different steps.

    Searches treat it as opaque: they index it along the batch, join several with `cat`, and read `step` and `done`.
    """

    prompts: tuple[str, ...]
    step: Tensor  # [b] int64, network steps taken: 1 after start, num_steps when done
    num_steps: int
    x: Tensor  # [b, *noise_shape], the noisy sample the last network step looked at
    clean: Tensor  # [b, *], its clean estimate; for finished rows the sample itself, for clips the newest chunk
    extra: dict[str, Any]  # [b, *] tensors or Rows, whatever else the adapter needs, gathered along the batch

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def done(self) -> Tensor:
        """[b] bool: rows that need no further network step."""
        return self.step >= self.num_steps

    def __getitem__(self, keep: Tensor | Sequence[int]) -> State:
        """Gather rows by index, where indices may repeat (branching) or be fewer (pruning), or by a boolean mask."""
        rows = torch.as_tensor(keep).cpu()
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows.long()
        if torch.equal(rows, torch.arange(len(self))):
            return self
        return replace(
            self,
            prompts=tuple(self.prompts[i] for i in rows.tolist()),
            step=self.step[rows],
            x=self.x[rows.to(self.x.device)],
            clean=self.clean[rows.to(self.clean.device)],
            extra={k: gather(v, rows) for k, v in self.extra.items()},
        )


def gather(values: Tensor | Rows, rows: Tensor) -> Tensor | Rows:
    """Some rows of what a state holds."""
    return Rows(values[row] for row in rows.tolist()) if isinstance(values, Rows) else values[rows.to(values.device)]


def cat(states: Sequence[State]) -> State:
    """Join states of one model along the batch."""

    def joined(parts: list[Any]) -> Any:
        return Rows(row for part in parts for row in part) if isinstance(parts[0], Rows) else torch.cat(parts)

    first = states[0]
    if len(states) == 1:
        return first
    return replace(
        first,
        prompts=tuple(p for s in states for p in s.prompts),
        step=torch.cat([s.step for s in states]),
        x=torch.cat([s.x for s in states]),
        clean=torch.cat([s.clean for s in states]),
        extra={k: joined([s.extra[k] for s in states]) for k in first.extra},
    )


class Model(Protocol):
    """An adapter to one frozen generator: a deterministic function of prompts and noise.

    `start` takes the first network step and `advance` one more; together `num_steps` of them finish a sample.
    `render` decodes the clean estimate: a free preview of unfinished rows, the picture of finished ones.
    Adapters leave gradient mode to the caller. `verbs` names the optional methods that it offers:
    "rewind" (forward kernel to a noisier step) and "transition" (mean and std of the next reverse step). "branch"
    says that `start` takes any number of rows, and that rows of a state may be copied, dropped and joined with rows at
    other steps; "gradient" that gradients pass from media to noise; "look" that it is Lookable; "tokens" that it is a
    TokenModel; "chunks" that it is a ChunkModel.
    """

    name: str
    noise_shape: tuple[int, ...]  # one sample, without the batch
    num_steps: int
    nfe_per_step: int  # denoiser forwards per sample and step; 2 with guidance, 0 for token models
    batch_size: int  # largest physical batch of a network call; what a call of b rows takes is verifiers.batches.cut
    stochastic: bool  # whether `advance` reads its noise
    verbs: frozenset[str]

    def start(self, prompts: Sequence[str], noise: Noise) -> State: ...

    def advance(self, state: State, noise: Noise | None = None) -> State: ...

    def render(self, state: State) -> Media: ...

    def fingerprint(self) -> dict[str, Any]: ...  # JSON-able: what the bits of a sample depend on


# Every row of noise depends on its own prompt and seed. A proposal that must know the first seed of a search offers
# `rooted(seed)`, which gives the proposal for it; one that runs networks says in `cost` what they take.
Proposal = Callable[[Model, Sequence[str], Sequence[int]], Noise]


class Round(NamedTuple):
    """What a search yields each time it has scored something."""

    media: Media  # [b, ...]
    scores: Scores
    recipes: tuple[Recipe, ...]  # how to make each sample's noise again
    ids: tuple[int, ...]  # unique within a search
    parents: tuple[int | None, ...]  # the sample each one was derived from
    done: bool = True  # False: previews, which are never returned as best
    sizes: tuple[Sizes, ...] = ()  # of the physical batches of each sample; () where all of a round went together


class Search(Protocol):
    """One algorithm as a generator function that owns its loop and yields a Round per scoring.

    Called as (model, verifier, prompt, *, rng, ledger, **knobs). Knobs are keyword-only and annotated with their
    ranges; those whose default is None bound the length of a search that would otherwise go on as long as it can pay.
    """

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Round]: ...
