"""What unified token models share: first a plan in words, then image tokens, one at a time, as one Model.

Noise is one number for each position, text first, as in core.gumbel: it keys the chance of its position, or says
the token itself. So a prefix that is kept, a suffix that is drawn again and tokens that a search decided on are all
noise, and every recipe of noise replays them.
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
    """A model that writes a plan and then draws image tokens, in `num_steps` blocks, with guidance or without.

    Subclasses say how their network reads a context and is fed tokens, and what its heads say.
    """

    verbs = frozenset({"branch", "tokens"})
    stochastic = False
    nfe_per_step = 0
    num_steps: int  # blocks of image tokens
    image_length: int
    rows: int  # of guidance: 1 or 2
    temperature = 1.0  # of image tokens
    shift: Tensor | float = 0.0  # of image logits

    @abstractmethod
    def _decode(self, tokens: Tensor) -> Media:
        """One physical batch of pictures of image tokens [b, image_length]."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number for each position."""
        return (self.text_length + self.image_length,)

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """At most what one sample costs in each step."""
        longest = self.context_length
        words = Cost(tokens=longest + self.text_length - 1, prefills=1) if self.text_length else Cost()
        ends = [self.stop(step) for step in range(self.num_steps)]
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        sizes[-1] -= 1  # nothing is drawn after the last token
        blocks = [Cost(tokens=self.rows * size) for size in sizes]
        blocks[0] = blocks[0].plus(Cost(tokens=self.rows * longest, prefills=self.rows)).plus(words)
        return tuple(blocks)

    def stop(self, step: int) -> int:
        """How many image tokens are there after step + 1 blocks."""
        return self.image_length * (step + 1) // self.num_steps

    def tilted(self, temperature: float, shift: Tensor) -> Self:
        """The same model with image logits (logits + shift) / temperature, where its own are `logits` [vocabulary]."""
        other = copy.copy(self)
        other.temperature, other.shift = self.temperature * temperature, self.shift + self.temperature * shift
        return other

    def stand_in(self) -> Tokens:
        """For dry runs: without a plan a model that runs no network; with one itself, as words decide what it costs."""
        return self if self.text_length else StandIn(self)

    # --- the Model contract

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Write the plans and draw the first block of image tokens."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        words, states, lengths, plans = self._plans(prompts, noise[:, : self.text_length])
        contexts = [self._fitting(prompt, plan) for prompt, plan in zip(prompts, plans, strict=True)]
        hidden, cache, context = self._read_all(contexts)
        size = len(prompts)
        if not self.text_length:  # as wide as those of a plan, so that searches need not tell them apart
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
        """Draw the next block of image tokens, by the noise that the rows started from."""
        refuse_finished(state)
        return self._block(state)

    def render(self, state: State) -> Media:
        """Pictures [b, 3, h, w] in [0, 1]; what is not drawn yet looks like the first token, which is a corner."""
        tokens = state.clean[:, self.text_length :]
        tokens = torch.where(tokens >= 0, tokens, tokens[:, :1])
        done = [self._decode(tokens[rows])[: len(keep)] for keep, rows in self._batches([0] * len(tokens))]
        return torch.cat(done)

    # --- the verb "tokens"

    def trace(self, state: State) -> Trace:
        """The tokens of a state and the hidden states that chose them."""
        extra = state.extra
        text, image = state.clean.split([self.text_length, self.image_length], 1)
        return Trace(text, extra["text"], extra["length"], image, extra["image"])

    def branch(self, state: State, noise: Noise) -> State:
        """The same pictures as far as they are drawn, to go on by other noise [b, positions]."""
        drawn = state.clean.to(noise.device)
        return replace(state, x=torch.where(drawn >= 0, given(drawn), noise))

    # --- inside

    def _fitting(self, prompt: str, plan: str) -> Context:
        """What is read before a picture; last words of a plan that has no room beside its prompt are left out."""
        context = self._context(prompt, plan)
        while plan and len(context[0]) > self.context_length:
            plan = plan.rpartition(" ")[0]
            context = self._context(prompt, plan)
        return context

    def _tilt(self, logits: Tensor) -> Tensor:
        """Image logits as they are sampled from."""
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
    """The stand-in for a model that writes no plan: all its tokens are equally likely, and no network runs.

    Contexts are tokenized by the real model, so that reading them costs the same.
    """

    vocabulary = 8

    def __init__(self, model: Tokens) -> None:
        """Take over what the cost of a sample depends on."""
        self.model = model
        for name in ("name", "verbs", "image_length", "rows", "greedy", "end", "num_steps", "batch_size"):
            setattr(self, name, getattr(model, name))
        self.text_length = 0
        self.pipeline = getattr(model, "pipeline", None)  # searches look for files beside its weights
        own = getattr(model, "width", None)
        self.width = int(own or model.language.config.hidden_size)  # type: ignore[attr-defined]

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
