"""How tokens come about: a context is read, then one physical batch after the other is run, one token at a time."""

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
    """What one physical batch goes on from."""

    hidden: Tensor  # [b, rows, width], what the next token is chosen by
    live: Any
    noise: Noise  # [b, n], of the positions to come
    first: int  # the position of the first of them on its side
    kept: int  # how many of them the noise says itself
    samples: int  # how many rows are samples; the others fill the batch
    final: bool  # whether nothing is read after them


class Decoding(ABC):
    """A network that reads contexts and is fed tokens, whose heads say what comes next.

    Hidden states are those that a head reads, [b, positions, rows, width], with one row for text and the rows of
    guidance for the image. Contexts are padded on the left to a fixed length, and each is read by itself: once for all
    samples that share it.
    """

    name: str
    batch_size: int
    text_length: int  # the longest plan, in tokens with its end; 0 for none
    greedy: bool  # whether plans are the likeliest words, whatever the noise
    end: int  # the text token that ends a plan
    book: Book = staticmethod(lambda spent, filled: None)  # told of every network pass as soon as it is done

    @abstractmethod
    def _context(self, prompt: str, plan: str | None) -> Context:
        """Token ids of what is read before a plan (`plan` None) or a picture, one row or `rows` of equal length."""

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
        """What tokens are drawn by, [*, vocabulary] in fp32, of states [*, rows, width]; differentiable."""

    @abstractmethod
    def write(self, tokens: Sequence[int]) -> str:
        """Words of text tokens, without special ones."""

    def booked(self, book: Book) -> Self:
        """The same model, telling `book` of the row-steps of every network pass: those of samples, and of padding."""
        other = copy.copy(self)
        other.book = book
        return other

    def choose(self, side: Side, hidden: Tensor, noise: Noise) -> Tensor:
        """The tokens [b, k] that states [b, k, rows, width] choose at the first k positions of a side, by its noise.

        Noise is that of these positions, [b, k].
        """
        first = 0 if side == "text" else self.text_length
        return torch.stack([self._pick(side, hidden[:, i], noise[:, i], first + i) for i in range(hidden.shape[1])], 1)

    def _pick(self, side: Side, hidden: Tensor, noise: Noise, position: int) -> Tensor:
        logits = self.logits(side, hidden)
        if side == "text" and self.greedy:
            said = encoded(noise).to(logits.device)
            return torch.where(said >= 0, said, logits.argmax(-1)).cpu()
        return pick(logits, noise, position).cpu()

    def _plans(self, prompts: Sequence[str], noise: Noise) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Text tokens [b, t] (the end repeated), states [b, t, 1, width], lengths [b] with the end, and the words."""
        size = len(prompts)
        if not self.text_length:
            nothing = torch.zeros(size, 0)
            return nothing.long(), nothing[:, :, None, None], torch.zeros(size).long(), [""] * size
        hidden, cache, context = self._read_all([self._context(prompt, None) for prompt in prompts])
        said = encoded(noise) == self.end
        kept = torch.minimum(prefix(noise), torch.where(said.any(1), said.long().argmax(1) + 1, self.text_length))
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
        """Tokens [b, n] and the states that chose them; the state after them, and what to go on with.

        A prefix that is known is fed in one pass. Nothing is fed after the final token, nor after all plans ended.
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
        """States [b, rows, width], caches [b, rows, *] and lengths [b] of contexts, each of which is read once."""
        longest = self.context_length
        seen = {}
        for context in dict.fromkeys(contexts):
            if len(context[0]) > longest:
                raise ValueError(
                    f"prompt and plan take {len(context[0])} tokens and {self.name} reads {longest}; "
                    "shorten the prompt or load the model with a larger `context`"
                )
            seen[context] = self._read(context)
            real = len(context) * len(context[0])
            self.book(Cost(tokens=real, prefills=len(context)), Cost(tokens=len(context) * longest - real))
        hidden, cache = (torch.stack([seen[context][part] for context in contexts]) for part in range(2))
        return hidden, cache, torch.tensor([len(context[0]) for context in contexts])

    def _batches(self, keys: Sequence[Any]) -> Iterator[tuple[list[int], Tensor]]:
        """Rows with equal keys in physical batches: which rows, and their index filled up by repeating them."""
        for key in dict.fromkeys(keys):
            alike = [row for row, own in enumerate(keys) if own == key]
            for keep, rows in grouped(alike, self.batch_size):
                yield list(keep), torch.tensor(rows)


def rejoined(parts: Sequence[tuple[list[int], tuple[Tensor, ...]]]) -> list[Tensor]:
    """What batches found for some rows each, [rows and what fills up, *], as whole columns in the order of all rows."""
    order = [row for keep, _ in parts for row in keep]
    if len(parts) == 1 and order == sorted(order):
        return [column[: len(order)] for column in parts[0][1]]
    place = torch.tensor(order).argsort()
    columns = zip(*([column[: len(keep)] for column in found] for keep, found in parts), strict=True)
    return [torch.cat(column)[place.to(column[0].device)] for column in columns]
