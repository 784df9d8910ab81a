"""The base of autoregressive image models: first a plan in words, then image tokens, one at a time.

Noise is one number for each position, text first, as in gensearch.core.gumbel: it seeds the sampling of its position,
or encodes the token itself. A kept prefix, a resampled suffix and tokens that a search chose are thus all noise, which
recipes replay.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from gensearch.core.gumbel import given, prefix
from gensearch.core.ledger import Cost
from gensearch.core.types import Noise, State
from gensearch.core.verbs import Side, Trace
from gensearch.models.batching import check_noise, refuse_finished
from gensearch.models.tokens.decoding import Context, Decoding, Run, rejoined
from verifiers.types import Media


class Tokens(Decoding):
    """An autoregressive image model, which may write a plan first; subclasses call its network and heads.

    Attributes:
        num_steps: Blocks of image tokens.
        image_length: Image tokens of a sample.
        rows: Of guidance: 1 without, 2 with.
        temperature: Of image tokens.
        shift: Of image logits, [vocabulary] or 0.
    """

    verbs = frozenset({"branch", "tokens"})
    stochastic = False
    nfe_per_step = 0
    num_steps: int
    image_length: int
    rows: int
    temperature = 1.0
    shift: Tensor | float = 0.0

    @abstractmethod
    def _decode(self, tokens: Tensor) -> Media:
        """Pictures of one physical batch of image tokens [b, image_length]."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number for each position."""
        return (self.text_length + self.image_length,)

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """The most that one sample costs in each step."""
        longest = self.context_length
        words = Cost(tokens=longest + self.text_length - 1, prefills=1) if self.text_length else Cost()
        ends = [self.stop(step) for step in range(self.num_steps)]
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        sizes[-1] -= 1  # the last token is not fed to the network
        blocks = [Cost(tokens=self.rows * size) for size in sizes]
        blocks[0] = blocks[0].plus(Cost(tokens=self.rows * longest, prefills=self.rows)).plus(words)
        return tuple(blocks)

    def stop(self, step: int) -> int:
        """Image tokens of a sample after step + 1 blocks."""
        return self.image_length * (step + 1) // self.num_steps

    def tilted(self, temperature: float, shift: Tensor) -> Self:
        """The same model with image logits (logits + shift) / temperature.

        Args:
            temperature: Above 0.
            shift: [vocabulary].
        """
        other = copy.copy(self)
        other.temperature, other.shift = self.temperature * temperature, self.shift + self.temperature * shift
        return other

    def stand_in(self) -> Tokens:
        """For dry runs: a model without a network; with a plan itself, since the length of plans decides the cost."""
        return self if self.text_length else StandIn(self)

    # --- the Model contract

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Write the plans and generate the first block of image tokens, by noise [b, positions]."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        words, states, lengths, plans = self._plans(prompts, noise[:, : self.text_length])
        contexts = [self._fitting(prompt, plan) for prompt, plan in zip(prompts, plans, strict=True)]
        hidden, cache, context = self._read_all(contexts)
        size = len(prompts)
        if not self.text_length:  # as wide as those of a plan, so that searches need not distinguish them
            states = hidden.new_zeros(size, 0, 1, hidden.shape[-1])
        tokens = torch.cat([words, torch.full((size, self.image_length), -1)], 1)
        extra = {
            "length": lengths,
            "text": states,
            "image": hidden.new_zeros(size, self.image_length, *hidden.shape[1:]),
            "next": hidden,
            "cache": cache,
            "context": context,
        }
        return self._block(State(tuple(prompts), torch.zeros(size).long(), self.num_steps, noise, tokens, extra))

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Generate the next block of image tokens, by the noise that the rows started from.

        Raises:
            ValueError: A row is finished.
        """
        refuse_finished(state)
        return self._block(state)

    def render(self, state: State) -> Media:
        """Pictures [b, 3, h, w] in [0, 1]; tokens that are still missing are replaced by the first, of a corner."""
        tokens = state.clean[:, self.text_length :]
        tokens = torch.where(tokens >= 0, tokens, tokens[:, :1])
        done = [self._decode(tokens[rows])[: len(keep)] for keep, rows in self._batches([0] * len(tokens))]
        return torch.cat(done)

    # --- the verb "tokens"

    def trace(self, state: State) -> Trace:
        """The tokens of a state and the hidden states from which they were chosen."""
        extra = state.extra
        text, image = state.clean.split([self.text_length, self.image_length], 1)
        return Trace(text, extra["text"], extra["length"], image, extra["image"])

    def branch(self, state: State, noise: Noise) -> State:
        """The same tokens as far as they are chosen, to go on by other noise [b, positions]."""
        drawn = state.clean.to(noise.device)
        return replace(state, x=torch.where(drawn >= 0, given(drawn), noise))

    # --- inside

    def _fitting(self, prompt: str, plan: str) -> Context:
        """The context of a picture; last words of a plan that does not fit beside its prompt are left out."""
        context = self._context(prompt, plan)
        while plan and len(context[0]) > self.context_length:
            plan = plan.rpartition(" ")[0]
            context = self._context(prompt, plan)
        return context

    def _tilt(self, logits: Tensor) -> Tensor:
        """Image logits as they are sampled."""
        shift = self.shift.to(logits) if isinstance(self.shift, Tensor) else self.shift
        return (logits + shift) / self.temperature

    def _block(self, state: State) -> State:
        """The next block of every row; rows at one step with equally long prefixes go together."""
        noise = state.x[:, self.text_length :].cpu()
        ends = torch.tensor([0, *map(self.stop, range(self.num_steps))])
        begin, end = ends[state.step], ends[state.step + 1]
        kept = torch.minimum(prefix(noise), end).sub(begin).clamp(min=0)
        parts = []
        for keep, rows in self._batches(list(zip(begin.tolist(), end.tolist(), kept.tolist(), strict=True))):
            first, stop, known = int(begin[keep[0]]), int(end[keep[0]]), int(kept[keep[0]])
            part = state[rows]
            live = self._open(part.extra["cache"], part.extra["context"], first)
            final = stop == self.image_length
            run = Run(part.extra["next"], live, noise[rows, first:stop], first, known, len(keep), final)
            tokens, states, hidden, live = self._run("image", run)
            clean, image = part.clean.clone(), part.extra["image"].clone()
            clean[:, self.text_length + first : self.text_length + stop] = tokens
            image[:, first:stop] = states
            parts.append((keep, (clean, image, hidden, part.extra["cache"] if final else self._close(live))))
        clean, image, hidden, cache = rejoined(parts)
        extra = {**state.extra, "image": image, "next": hidden, "cache": cache}
        return State(state.prompts, state.step + 1, self.num_steps, state.x, clean, extra)


class StandIn(Tokens):
    """The stand-in of a model without a plan for dry runs: all tokens are equally likely, and no network runs.

    Contexts are tokenized by the real model, so that encoding them costs the same.

    Args:
        model: From which it takes all that the cost of a sample depends on.
    """

    vocabulary = 8

    def __init__(self, model: Tokens) -> None:
        self.model = model
        for name in ("name", "verbs", "image_length", "rows", "greedy", "end", "num_steps", "batch_size"):
            setattr(self, name, getattr(model, name))
        self.text_length = 0
        self.pipeline = getattr(model, "pipeline", None)  # searches use files beside its weights
        inner: Any = model
        self.width = int(getattr(model, "width", None) or inner.language.config.hidden_size)  # a toy's, or a Language's

    @property
    def context_length(self) -> int:
        """Tokens to which a context is padded."""
        return self.model.context_length

    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """The same for every token; differentiable, with a gradient of zero."""
        flat = 0 * hidden[..., 0, :1].expand(*hidden.shape[:-2], self.vocabulary)
        return self._tilt(flat) if side == "image" else flat

    def write(self, tokens: Sequence[int]) -> str:
        """There is no plan."""
        return ""

    def fingerprint(self) -> dict[str, Any]:
        """Whose cost it has."""
        return {"stands in for": self.name}

    def _context(self, prompt: str, plan: str | None) -> Context:
        return self.model._context(prompt, plan)

    def _read(self, context: Context) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(context), self.width), torch.zeros(len(context), 1)

    def _open(self, cache: Tensor, context: Tensor, length: int) -> Tensor:
        return cache

    def _feed(self, side: Side, tokens: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(*tokens.shape, live.shape[1], self.width), live

    def _close(self, live: Tensor) -> Tensor:
        return live

    def _decode(self, tokens: Tensor) -> Media:
        return (tokens / self.vocabulary)[:, None, None].expand(-1, 3, -1, -1).contiguous()
