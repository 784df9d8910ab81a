"""The contract of a search: Model, State, Verifier, Round and Search; its outcome is in gensearch.core.result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from verifiers.types import Media, Scores

Noise = Tensor  # [b, *model.noise_shape], standard normal before a search touches it
Recipe = tuple[tuple[Any, ...], ...]  # moves that reproduce one sample's noise, see gensearch.core.noise.remake


# Physical batch sizes that one sample went through: one for each network step and one for its decoding, or a single one
# for all of them. Its last bits depend on them.
Sizes = tuple[int, ...]


class Rows(tuple[Any, ...]):
    """One opaque object per row of a state, such as the chunks of a clip; copies of a row share it."""


@dataclass(frozen=True)
class State:
    """A batch of b samples between noise and media; rows may stand at different steps.

    Searches treat it as opaque: they index it along the batch, join several with `cat`, and read `step` and `done`.

    Attributes:
        prompts: One per row.
        step: [b] int64, network steps taken: 1 after `start`, `num_steps` when done.
        num_steps: Network steps of a finished sample.
        x: [b, *noise_shape], the noisy sample that the last network step took as its input.
        clean: [b, *], its clean estimate; of finished rows the sample itself, of clips the newest chunk.
        extra: [b, *] tensors or Rows: whatever else the adapter needs, gathered along the batch.
    """

    prompts: tuple[str, ...]
    step: Tensor
    num_steps: int
    x: Tensor
    clean: Tensor
    extra: dict[str, Any]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def done(self) -> Tensor:
        """[b] bool: rows that need no further network step."""
        return self.step >= self.num_steps

    def __getitem__(self, keep: Tensor | Sequence[int]) -> State:
        """Gather rows.

        Args:
            keep: Indices, which may repeat (branching) or be fewer (pruning), or a boolean mask [b].
        """
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
    """Rows of a column of a state.

    Args:
        values: [b, *], or one object per row.
        rows: [k] int64, which rows; indices may repeat.
    """
    return Rows(values[row] for row in rows.tolist()) if isinstance(values, Rows) else values[rows.to(values.device)]


def cat(states: Sequence[State]) -> State:
    """Join states along the batch.

    Args:
        states: One or more states of one model.
    """

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

    `start` takes the first network step and `advance` one more; together `num_steps` of them finish a sample. `render`
    decodes the clean estimate: a preview of unfinished rows, the picture of finished ones. Adapters leave gradient mode
    to the caller. Attributes are only read, so that a constant, a property or a narrower type will do.

    `verbs` names the optional capabilities that a model offers:

    - "branch": `start` takes any number of rows, and rows of a state may be copied, dropped and joined with rows at
      other steps;
    - "rewind": a method, the forward kernel to a noisier step (Rewindable);
    - "transition": a method, the mean and standard deviation of the next reverse step;
    - "gradient": gradients flow from media to noise;
    - "look": its network can be evaluated on pure noise (Lookable);
    - "tokens": it is an autoregressive image model (TokenModel);
    - "chunks": it is a chunk-autoregressive video model (ChunkModel).
    """

    @property
    def name(self) -> str:
        """What it is called in logs, records and errors."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of one sample's noise, without the batch."""

    @property
    def num_steps(self) -> int:
        """Network steps of one sample, 1 or more."""

    @property
    def nfe_per_step(self) -> int:
        """Denoiser forwards (NFE) per sample and step: 2 with guidance, 0 for autoregressive image models."""

    @property
    def batch_size(self) -> int:
        """The largest physical batch of a network call; `verifiers.batches.cut` says how b rows are cut into them."""

    @property
    def stochastic(self) -> bool:
        """Whether `advance` reads its noise."""

    @property
    def verbs(self) -> frozenset[str]:
        """Names of the optional capabilities that it offers."""

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Take the first network step: b prompts and noise [b, *noise_shape], standard normal."""

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Take one more network step; a stochastic model draws it by noise [b, *noise_shape]."""

    def render(self, state: State) -> Media:
        """Decode the clean estimates to [b, 3, h, w] or [b, t, 3, h, w], RGB in [0, 1]."""

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on, as JSON-able data."""


# (model, prompts, seeds) -> noise [b, *noise_shape], each row of which depends on its own prompt and seed alone.
# A proposal that needs the first seed of a search offers `rooted(seed)`, which returns the proposal for it; one that
# runs networks states their cost per sample in an attribute `cost` (gensearch.core.ledger.Cost). One that knows the log
# density of its noise over that of N(0, I), in nats [b], offers it as `log_ratio(model, prompts, seeds)`.
Proposal = Callable[[Model, Sequence[str], Sequence[int]], Noise]


class Round(NamedTuple):
    """What a search yields each time it has scored b samples.

    Attributes:
        media: [b, 3, h, w] or [b, t, 3, h, w] in [0, 1].
        scores: Of the verifier that guides.
        recipes: How to reproduce each sample's noise.
        ids: Unique within a search.
        parents: The sample that each one was derived from, None for a new start.
        done: False for previews, which are never returned as best.
        sizes: Physical batch sizes behind each sample; () if the whole round went through together.
    """

    media: Media
    scores: Scores
    recipes: tuple[Recipe, ...]
    ids: tuple[int, ...]
    parents: tuple[int | None, ...]
    done: bool = True
    sizes: tuple[Sizes, ...] = ()


class Search(Protocol):
    """One algorithm as a generator function that owns its loop and yields a Round each time it has scored something.

    Called as (model, verifier, prompt, *, rng, ledger, **knobs). Knobs are keyword-only, annotated with their ranges,
    and described one a line in the `Args:` block of the docstring, from which help and dry runs take their text. A knob
    that is annotated with `Bound` (gensearch.search.knobs) bounds the length of the search when it is set; a search
    without one goes on as long as its ledger can pay.
    """

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Round]: ...
