"""Optional capabilities of a model: what each name in its `verbs` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from gensearch.core.ledger import Cost
from gensearch.core.types import Model, Noise, State


class Rewindable(Model, Protocol):
    """A model with the verb "rewind": the forward kernel q(x_j | x_i) back to a noisier step j < i.

    Used by path search (arXiv:2501.09732), DFS and EvoSearch. Noising is free,
    but the clean estimate there is new, so `rewind` takes one network step at `nfe_per_step`.
    """

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State:
        """Rows noised back to `step` [b] int64, counted as in State (1 is pure noise), by noise [b, *noise_shape]."""


class Lookable(Model, Protocol):
    """A model with the verb "look": its denoiser can be copied, changed and evaluated on pure noise.

    HyperNoise (arXiv:2508.09968) builds its noise hypernetworks from this.
    """

    @property
    def last_layer(self) -> str:
        """The submodule of `network` that computes its output."""

    @property
    def pure(self) -> float:
        """The timestep of pure noise, in the units of its schedule."""

    @property
    def guidance(self) -> float:
        """The guidance scale in effect; 0 without guidance."""

    @property
    def network(self) -> torch.nn.Module:
        """The denoiser."""

    def conditions(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """What the denoiser is conditioned on, [b, *] each, the text embeddings [b, length, width] first."""

    def look(self, network: torch.nn.Module, noise: Noise, *conditions: Tensor) -> Tensor:
        """The output of a network like the denoiser on pure noise, fp32 [b, *noise_shape], without guidance."""


Side = Literal["text", "image"]


class Trace(NamedTuple):
    """The tokens of b samples and the hidden states from which they were chosen.

    Attributes:
        text: [b, t] int64, the plan; after its end the end token again.
        text_states: [b, t, 1, width], zero after the end.
        lengths: [b] int64, tokens of the plan including its end.
        image: [b, n] int64, -1 where no token is chosen yet.
        image_states: [b, n, rows, width], with one row, or the conditional and the unconditional row of guidance.
    """

    text: Tensor
    text_states: Tensor
    lengths: Tensor
    image: Tensor
    image_states: Tensor

    def of(self, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, states and lengths [b] of one side."""
        if side == "text":
            return self.text, self.text_states, self.lengths
        return self.image, self.image_states, torch.full((len(self.image),), self.image.shape[1])


class TokenModel(Model, Protocol):
    """A model with the verb "tokens": an autoregressive image model, which may first write a plan in words.

    Image tokens are generated in `num_steps` blocks. Its noise [text_length + image_length] has one number for each
    position, as in gensearch.core.gumbel. A prompt rewriter before another model has words only: `image_length` is 0,
    and `branch` and `tilted` may be missing.
    """

    @property
    def text_length(self) -> int:
        """The longest plan, in tokens with its end; 0 without a plan."""

    @property
    def image_length(self) -> int:
        """Image tokens of one sample; 0 if another model makes the picture."""

    @property
    def greedy(self) -> bool:
        """Whether a plan takes the likeliest words, whatever its noise."""

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """The most that one sample costs in each step."""

    def booked(self, book: Callable[[Cost, Cost], None]) -> TokenModel:
        """The same model, which reports the cost of every network pass to `book`: of samples, and of padding."""

    def trace(self, state: State) -> Trace:
        """The tokens of a state, with the hidden states from which they were chosen."""

    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """Logits [*, vocabulary] from hidden states [*, rows, width], differentiable."""

    def choose(self, side: Side, hidden: Tensor, noise: Noise) -> Tensor:
        """The first k tokens [b, k] of a side from hidden states [b, k, rows, width], by noise [b, k]."""

    def branch(self, state: State, noise: Noise) -> State:
        """The same tokens as far as they are chosen; the rest will follow noise [b, positions]."""

    def tilted(self, temperature: float, shift: Tensor) -> TokenModel:
        """The same model with image logits (logits + shift) / temperature, for a shift [vocabulary]."""


class ChunkModel(Model, Protocol):
    """A model with the verb "chunks": a chunk-autoregressive video model; a step makes one chunk from fresh noise.

    `start` makes the first chunk and `advance` the next one, conditioned on those before it; `render` returns what
    there is so far, [b, t, 3, h, w], of rows that stand at one step. Rows that branch share their prefix.
    """

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """What one clip that shares nothing with others costs in each step."""

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames of each chunk."""

    @property
    def causal(self) -> bool:
        """Whether the frames of a prefix keep their bits when the clip goes on."""

    def booked(self, book: Callable[[Cost, Cost], None]) -> ChunkModel:
        """The same model, which reports the cost of every network pass to `book`: of samples, and of padding."""

    def due(self, state: State) -> Cost:
        """What `advance` costs for a state, in which rows may share the encoding of a prefix."""

    def rest(self, state: State) -> State:
        """The same clips without caches, which are computed again if the clips go on."""


class Rehearsable(Model, Protocol):
    """A model that offers its own stand-in for dry runs, whatever its verbs.

    Models without this method get one that fits models whose steps all cost the same (gensearch.models.stand_in).
    """

    def stand_in(self) -> Model:
        """A model with the same steps, costs and verbs that runs no network."""


class Transition(NamedTuple):
    """The Gaussian reverse kernel of the next step.

    Attributes:
        mean: [b, *noise_shape].
        std: [b, *noise_shape]; zero for ODE steps.
    """

    mean: Tensor
    std: Tensor
