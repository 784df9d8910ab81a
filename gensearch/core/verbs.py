"""Optional capabilities of a model: what the names in its `verbs` promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from gensearch.core.ledger import Cost
from gensearch.core.types import Model, Noise, State


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


class Rehearsable(Model, Protocol):
    """A model that offers its own stand-in for dry runs, whatever its verbs: same steps, costs and verbs, no network.

    Models without this method have one that fits models whose steps all cost the same; see gensearch.models.stand_in.
    """

    def stand_in(self) -> Model: ...


class Transition(NamedTuple):
    """The Gaussian reverse kernel of the next step, both [b, *noise_shape]; std is zero for ODE steps."""

    mean: Tensor
    std: Tensor
