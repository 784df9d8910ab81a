"""The nouns of a search: Model, State, Verifier, Round, Search; what it comes to is in gensearch.core.result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from gensearch.core.ledger import Cost
from verifiers.types import Media, Scores

Noise = Tensor  # [b, *model.noise_shape], standard normal before a search touches it
Recipe = tuple[tuple[Any, ...], ...]  # moves that make one sample's noise again, see gensearch.core.noise


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
    batch_size: int  # fixed physical batch of every network call; short batches are padded
    stochastic: bool  # whether `advance` reads its noise
    verbs: frozenset[str]

    def start(self, prompts: Sequence[str], noise: Noise) -> State: ...

    def advance(self, state: State, noise: Noise | None = None) -> State: ...

    def render(self, state: State) -> Media: ...

    def fingerprint(self) -> dict[str, Any]: ...  # JSON-able: what the bits of a sample depend on


class Rewindable(Model, Protocol):
    """A model that can take rows back to a noisier step: x_j given x_i, step j < i (path search, DFS, EvoSearch).

    `step` [b] int64 counts as in State: 1 is pure noise. Noising is free but the clean estimate there is new, so
    `rewind` takes one network step, at `nfe_per_step` like any other; the state it returns has `step` as given.
    """

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State: ...


class Lookable(Model, Protocol):
    """A model whose network can be copied, changed and asked about pure noise: what hypernetworks are made from."""

    last_layer: str  # the submodule of `network` that its output comes from

    @property
    def pure(self) -> float: ...  # the timestep of pure noise, in the units of its schedule

    @property
    def guidance(self) -> float: ...  # the guidance scale in effect, 0 without

    @property
    def network(self) -> torch.nn.Module: ...  # the denoiser

    def conditions(self, prompts: Sequence[str]) -> tuple[Tensor, ...]: ...  # [b, *]; text [b, length, width] first

    def look(self, network: torch.nn.Module, noise: Noise, *conditions: Tensor) -> Tensor: ...  # fp32 [b, *noise_shape]


Side = Literal["text", "image"]


class Trace(NamedTuple):
    """What a token model decided and why: tokens, and the states that its heads chose them by."""

    text: Tensor  # [b, t] int64, after a plan's end the end again
    text_states: Tensor  # [b, t, 1, width], zero after the end
    lengths: Tensor  # [b] tokens of the plan with its end
    image: Tensor  # [b, n] int64, -1 where nothing is drawn yet
    image_states: Tensor  # [b, n, rows, width], rows of guidance

    def of(self, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, states and lengths [b] of one side."""
        if side == "text":
            return self.text, self.text_states, self.lengths
        return self.image, self.image_states, torch.full((len(self.image),), self.image.shape[1])


class TokenModel(Model, Protocol):
    """A model with the verb "tokens": it writes a plan in words, then image tokens, in `num_steps` blocks.

    Its noise [text_length + image_length] is that of core.gumbel. `step_costs` bound what one sample costs in each
    step; what passes really took goes to `book`, which `booked` replaces.
    """

    text_length: int
    image_length: int
    greedy: bool  # whether plans are the likeliest words
    step_costs: tuple[Cost, ...]

    def booked(self, book: Callable[[Cost, Cost], None]) -> TokenModel: ...

    def trace(self, state: State) -> Trace: ...

    def logits(self, side: Side, hidden: Tensor) -> Tensor: ...  # [*, rows, width] -> [*, vocabulary], differentiable

    def choose(self, side: Side, hidden: Tensor, noise: Noise) -> Tensor: ...  # the first [b, k] tokens of a side

    def branch(self, state: State, noise: Noise) -> State: ...  # go on from what is drawn by other noise

    def tilted(self, temperature: float, shift: Tensor) -> TokenModel: ...  # image logits become (logits + shift) / T


class ChunkModel(Model, Protocol):
    """A model with the verb "chunks": a step makes one chunk of a clip from fresh noise, given the chunks before it.

    `start` makes the first chunk and `advance` the next one; `render` shows what there is so far, [b, t, 3, h, w], of
    rows that stand at one step. Rows that branch share their prefix. `step_costs` are those of a clip made alone;
    `due` says what `advance` takes of a state, in which rows may share the reading of a prefix, and what passes really
    took goes to `book`, which `booked` replaces.
    """

    step_costs: tuple[Cost, ...]
    frames: tuple[int, ...]  # of each chunk
    causal: bool  # whether the frames of a prefix stay as they are, bit for bit, when it goes on

    def booked(self, book: Callable[[Cost, Cost], None]) -> ChunkModel: ...

    def due(self, state: State) -> Cost: ...

    def rest(self, state: State) -> State: ...  # the same clips; what is kept to go on with them is made anew


class Transition(NamedTuple):
    """The Gaussian reverse kernel of the next step, both [b, *noise_shape]; std is zero for ODE steps."""

    mean: Tensor
    std: Tensor


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


class Search(Protocol):
    """One algorithm as a generator function that owns its loop and yields a Round per scoring.

    Called as (model, verifier, prompt, *, rng, ledger, **knobs). Knobs are keyword-only and annotated with their
    ranges; those whose default is None bound the length of a search that would otherwise go on as long as it can pay.
    """

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Round]: ...
