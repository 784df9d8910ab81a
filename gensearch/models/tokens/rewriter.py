"""A language model that rewrites the prompts of any other model, so that searches can optimise the words too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gensearch.core.ledger import Cost
from gensearch.core.price import step_costs
from gensearch.core.types import Model, Noise, State, cat
from gensearch.core.verbs import Side, Trace
from gensearch.models.batching import check_noise
from gensearch.models.fingerprint import module_hash
from gensearch.models.options import Count, checked
from gensearch.models.tokens.decoding import Context
from gensearch.models.tokens.language import Language, filled
from verifiers.batches import pieces
from verifiers.types import Media

ASK = (
    "Rewrite this prompt for an image generator in at most fifty words, naming every object with its number, its look "
    "and its place, and adding nothing: {prompt}\nRewritten:"
)


class Rewriter(Language):
    """Any model behind a prompt rewriter; noise is one number for each word, as in core.gumbel, then the model's own.

    An empty rewriting leaves the prompt as it is. Verifiers always score by the original prompt.

    Args:
        model: The generator.
        language: A causal language model of transformers.
        tokenizer: Of the language model.
        name: In logs and records (default: the model's, with "rewritten").
        greedy: Whether a rewriting takes the likeliest words, whatever its noise.
        text_length: The longest rewriting in tokens, 1 or more.
        context: Tokens to which the request is padded, 1 or more.
        ask: The template of the request, with {prompt}.
        draw: The template of the model's prompt, with {plan}, and {prompt} if wanted.
    """

    rows = 1
    image_length = 0

    @checked
    def __init__(
        self,
        model: Any,
        language: Any,
        tokenizer: Any,
        *,
        name: str | None = None,
        greedy: bool = True,
        text_length: Count = 96,
        context: Count = 256,
        ask: Annotated[str, Field(pattern=r"\{prompt\}")] = ASK,
        draw: Annotated[str, Field(pattern=r"\{plan\}")] = "{plan}",
    ) -> None:
        self.model: Model = model
        self.head = language.requires_grad_(False).eval()
        self.language, self.tokenizer = language.base_model, tokenizer
        self.name = name or f"{model.name} rewritten"
        self.greedy, self.text_length, self.ask, self.draw = greedy, text_length, ask, draw
        self.padded, self.longest = context, text_length
        self.end = int(tokenizer.eos_token_id)
        self.batch_size, self.num_steps = model.batch_size, model.num_steps
        self.nfe_per_step, self.stochastic = model.nfe_per_step, model.stochastic
        self.verbs = frozenset({"tokens"}) | (model.verbs & {"branch"})
        self.noise_shape = (text_length + math.prod(model.noise_shape),)

    @property
    def step_costs(self) -> tuple[Cost, ...]:
        """The most that one sample costs in each step."""
        first, *others = step_costs(self.model)
        return (first.plus(Cost(tokens=self.padded + self.text_length - 1, prefills=1)), *others)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Rewrite the prompts and take the model's first step."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        tokens, states, lengths, plans = self._plans(prompts, noise[:, : self.text_length])
        rewritten = [
            filled(self.draw, prompt=prompt, plan=plan) if plan else prompt
            for prompt, plan in zip(prompts, plans, strict=True)
        ]
        own = self._own(noise)
        inner = self._step(len(prompts), 0, lambda rows: self.model.start(rewritten[rows], own[rows]))
        return self._outer(inner, noise, {"words": tokens, "text": states, "length": lengths})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """The model's next step."""
        before, own = self._inner(state), None if noise is None else self._own(noise)

        def advanced(rows: slice) -> State:
            return self.model.advance(before[range(len(before))[rows]], None if own is None else own[rows])

        inner = self._step(len(state), 1, advanced)
        return self._outer(inner, state.x, {name: state.extra[name] for name in ("words", "text", "length")})

    def render(self, state: State) -> Media:
        """The model's pictures."""
        return self.model.render(self._inner(state))

    def trace(self, state: State) -> Trace:
        """The words of a state and the hidden states they were chosen from; there are no image tokens."""
        size, extra = len(state), state.extra
        states = extra["text"].new_zeros(size, 0, 1, extra["text"].shape[-1])
        return Trace(extra["words"], extra["text"], extra["length"], torch.zeros(size, 0).long(), states)

    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """By the language head."""
        head = self.head.get_output_embeddings()
        logits: Tensor = head(hidden[..., 0, :].to(head.weight))
        return logits.float()

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on."""
        names = ("text_length", "padded", "greedy", "ask", "draw")
        own = {name: getattr(self, name) for name in names}
        return {**self.model.fingerprint(), **own, "name": self.name, "language": module_hash(self.head)}

    def _context(self, prompt: str, plan: str | None) -> Context:
        return (self._ids(filled(self.ask, prompt=prompt)),)

    def _own(self, noise: Noise) -> Noise:
        return noise[:, self.text_length :].reshape(len(noise), *self.model.noise_shape)

    def _step(self, rows: int, step: int, work: Callable[[slice], State]) -> State:
        """A step of the model, each physical batch booked as soon as it is done."""
        unit, done = step_costs(self.model)[step], []
        for part, count, size in pieces(rows, self.batch_size):
            done.append(work(part))
            self.book(unit.times(count), unit.times(size - count))
        return cat(done)

    def _outer(self, inner: State, noise: Noise, own: dict[str, Tensor]) -> State:
        extra = {f"inner {name}": value for name, value in inner.extra.items()} | own
        x = torch.cat([noise[:, : self.text_length].to(inner.x), inner.x.flatten(1)], 1)
        return State(inner.prompts, inner.step, inner.num_steps, x, inner.clean, extra)

    def _inner(self, state: State) -> State:
        extra = {name[6:]: value for name, value in state.extra.items() if name.startswith("inner ")}
        return State(state.prompts, state.step, state.num_steps, self._own(state.x), state.clean, extra)
