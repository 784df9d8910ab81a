"""Cached decoding: contexts are encoded, then one physical batch after the other is decoded token by token."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from gensearch.core.gumbel import encoded, pick, prefix
from gensearch.core.ledger import Cost
from gensearch.core.types import Noise
from gensearch.core.verbs import Side
from gensearch.models.batching import grouped

Book = Callable[[Cost, Cost], None]
Context = tuple[tuple[int, ...], ...]  # token ids, one row or the rows of guidance, of equal length


class Run(NamedTuple):
    """The state from which one physical batch is decoded.

    Attributes:
        hidden: [b, rows, width], from which the next token is chosen.
        live: The network's cache.
        noise: [b, n], of the positions to come.
        first: The position of the first of them on its side, from 0.
        kept: How many of them the noise encodes.
        samples: How many rows are samples; the others fill the batch.
        final: Whether the last token need not be fed to the network.
    """

    hidden: Tensor
    live: Any
    noise: Noise
    first: int
    kept: int
    samples: int
    final: bool


class Decoding(ABC):
    """A network that encodes contexts and is fed tokens, with heads for the next token.

    Hidden states are the inputs of a head, [b, positions, rows, width], with one row for text and the rows of guidance
    for the image: conditional, then unconditional. Contexts are padded on the left to a fixed length, and each is
    encoded by itself, once for all samples that share it.

    Attributes:
        text_length: The longest plan, in tokens with its end; 0 for none.
        greedy: Whether plans take the likeliest words, whatever the noise.
        end: The text token that ends a plan.
        book: Is called with the cost of every network pass as soon as it is done: of samples, and of padding.
    """

    name: str
    batch_size: int
    text_length: int
    greedy: bool
    end: int
    book: Book = staticmethod(lambda spent, filled: None)

    @abstractmethod
    def _context(self, prompt: str, plan: str | None) -> Context:
        """Token ids of the context of a plan (`plan` None) or of a picture, one row or `rows` of equal length."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Tokens to which a context is padded."""

    @abstractmethod
    def _read(self, context: Context) -> tuple[Tensor, Tensor]:
        """The state after a context [rows, width], and a cache [rows, *] for the longest sequence."""

    @abstractmethod
    def _open(self, cache: Tensor, context: Tensor, length: int) -> Any:
        """Caches [b, rows, *] of samples `length` tokens beyond their contexts of lengths [b], ready to go on."""

    @abstractmethod
    def _feed(self, side: Side, tokens: Tensor, live: Any) -> tuple[Tensor, Any]:
        """The states after each of the tokens [b, k], which are [b, k, rows, width], and what to go on with."""

    @abstractmethod
    def _close(self, live: Any) -> Tensor:
        """The caches [b, rows, *] of samples, of full length again."""

    @abstractmethod
    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """Logits [*, vocabulary] in fp32 from hidden states [*, rows, width]; differentiable."""

    @abstractmethod
    def write(self, tokens: Sequence[int]) -> str:
        """Words of text tokens, without special ones."""

    def booked(self, book: Book) -> Self:
        """The same model, which reports every network pass.

        Args:
            book: Is called with the cost of samples and the cost of padding.
        """
        other = copy.copy(self)
        other.book = book
        return other

    def choose(self, side: Side, hidden: Tensor, noise: Noise) -> Tensor:
        """The tokens [b, k] at the first k positions of a side.

        Args:
            side: "text" or "image".
            hidden: [b, k, rows, width].
            noise: Of these positions, [b, k].
        """
        first = 0 if side == "text" else self.text_length
        return torch.stack([self._pick(side, hidden[:, i], noise[:, i], first + i) for i in range(hidden.shape[1])], 1)

    def _pick(self, side: Side, hidden: Tensor, noise: Noise, position: int) -> Tensor:
        logits = self.logits(side, hidden)
        if side == "text" and self.greedy:
            known = encoded(noise).to(logits.device)
            return torch.where(known >= 0, known, logits.argmax(-1)).cpu()
        return pick(logits, noise, position).cpu()

    def _plans(self, prompts: Sequence[str], noise: Noise) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Text tokens [b, t] (the end repeated), states [b, t, 1, width], lengths [b] with the end, and the words."""
        size = len(prompts)
        if not self.text_length:
            nothing = torch.zeros(size, 0)
            return nothing.long(), nothing[:, :, None, None], torch.zeros(size).long(), [""] * size
        hidden, cache, context = self._read_all([self._context(prompt, None) for prompt in prompts])
        ends = encoded(noise) == self.end
        kept = torch.minimum(prefix(noise), torch.where(ends.any(1), ends.long().argmax(1) + 1, self.text_length))
        parts = []
        for keep, rows in self._batches(kept.tolist()):
            live = self._open(cache[rows.to(cache.device)], context[rows], 0)
            run = Run(hidden[rows.to(hidden.device)], live, noise[rows], 0, int(kept[keep[0]]), len(keep), final=True)
            tokens, states, *_ = self._run("text", run)
            parts.append((keep, (tokens, states)))
        tokens, states = rejoined(parts)
        ended = (tokens == self.end).long().cumsum(1)
        lengths = (ended - (tokens == self.end).long() == 0).sum(1)
        words = [self.write(row[:length]) for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        return tokens, states, lengths, words

    def _run(self, side: Side, run: Run) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Tokens [b, n] and the states they were chosen from; the state after them, and the cache.

        A known prefix is fed in one pass. Nothing is fed after the final token, nor after all plans ended.
        """
        hidden, live, noise, first, kept, samples, final = run
        size, n = noise.shape
        tokens, states = torch.full((size, n), self.end), hidden.new_zeros(size, n, *hidden.shape[1:])
        over, position = torch.zeros(size, dtype=torch.bool), 0
        while position < n and not bool(over.all()):
            width = max(1, kept - position)
            if position < kept:
                chosen = encoded(noise[:, :kept])
            else:
                at = position + first + (self.text_length if side == "image" else 0)
                chosen = torch.where(over, self.end, self._pick(side, hidden, noise[:, position], at))[:, None]
            states[:, position] = hidden.masked_fill(over.to(hidden.device)[:, None, None], 0)
            tokens[:, position : position + width] = chosen
            if side == "text":
                over = over | (chosen[:, -1] == self.end)
            position += width
            ahead = chosen[:, :-1] if (final and position == n) or bool(over.all()) else chosen
            if ahead.shape[1]:
                after, live = self._feed(side, ahead, live)
                rows = after.shape[2]
                real = ahead.shape[1] * samples - int(over[:samples].sum()) * (ahead.shape[1] == width)
                self.book(Cost(tokens=rows * real), Cost(tokens=rows * (ahead.numel() - real)))
                states[:, position - width + 1 : position] = after[:, : width - 1]
                hidden = after[:, -1]
        return tokens, states, hidden, live

    def _read_all(self, contexts: Sequence[Context]) -> tuple[Tensor, Tensor, Tensor]:
        """States [b, rows, width], caches [b, rows, *] and lengths [b] of contexts, each of which is encoded once."""
        longest = self.context_length
        found = {}
        for context in dict.fromkeys(contexts):
            if len(context[0]) > longest:
                raise ValueError(
                    f"prompt and plan take {len(context[0])} tokens and {self.name} reads {longest}; "
                    "shorten the prompt or load the model with a larger `context`"
                )
            found[context] = self._read(context)
            real = len(context) * len(context[0])
            self.book(Cost(tokens=real, prefills=len(context)), Cost(tokens=len(context) * longest - real))
        hidden, cache = (torch.stack([found[context][part] for context in contexts]) for part in range(2))
        return hidden, cache, torch.tensor([len(context[0]) for context in contexts])

    def _batches(self, keys: Sequence[Any]) -> Iterator[tuple[list[int], Tensor]]:
        """Rows with equal keys in physical batches: which rows, and their index filled up by repeating them."""
        for key in dict.fromkeys(keys):
            alike = [row for row, own in enumerate(keys) if own == key]
            for keep, rows in grouped(alike, self.batch_size):
                yield list(keep), torch.tensor(rows)


def rejoined(parts: Sequence[tuple[list[int], tuple[Tensor, ...]]]) -> list[Tensor]:
    """Columns of several batches as whole columns, in the order of all rows and without padding.

    Args:
        parts: For each batch the rows it holds, and its columns [rows and padding, *].
    """
    order = [row for keep, _ in parts for row in keep]
    if len(parts) == 1 and order == sorted(order):
        return [column[: len(order)] for column in parts[0][1]]
    place = torch.tensor(order).argsort()
    columns = zip(*([column[: len(keep)] for column in found] for keep, found in parts), strict=True)
    return [torch.cat(column)[place.to(column[0].device)] for column in columns]
