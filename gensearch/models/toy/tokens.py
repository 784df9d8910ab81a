"""An autoregressive image model so small that every sequence can be enumerated: exact expectations and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gensearch.core.noise import derive
from gensearch.core.verbs import Side
from gensearch.models.fingerprint import module_hash
from gensearch.models.options import Batch, Count, checked
from gensearch.models.tokens.base import Tokens
from gensearch.models.tokens.decoding import Context
from gensearch.models.toy.base import Guidance
from verifiers.types import Media


class Recurrent(nn.Module):
    """A recurrent network: the next state is tanh(W state + the token's vector).

    Args:
        vocabulary: Tokens.
        width: Of the state.
        generator: For the weights.
    """

    def __init__(self, vocabulary: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.randn(vocabulary, width, generator=generator))
        self.turn = nn.Parameter(torch.randn(width, width, generator=generator) / width**0.5)

    def forward(self, tokens: Tensor, state: Tensor) -> Tensor:
        """The states [b, k, width] after each of the tokens [b, k], from [b, width] before them; -1 changes nothing."""
        after = []
        for token in tokens.unbind(1):
            if bool((token < 0).all()):
                after.append(state)
                continue
            moved = torch.tanh((self.turn * state[:, None]).sum(-1) + self.words[token.clamp(min=0)])
            state = torch.where(token[:, None] < 0, state, moved)
            after.append(state)
        return torch.stack(after, 1)


class ToyTokens(Tokens):
    """A recurrent network with linear heads; a picture has a grey level for each image token.

    `sequences` enumerates all pictures of a prompt with their probabilities.

    Args:
        image_length: Image tokens of a sample, 1 or more.
        vocabulary: Of image tokens, 1 or more.
        text_length: The longest plan in tokens; 0 without a plan.
        words: The vocabulary of plans and prompts, 1 or more.
        width: Of the state, 1 or more.
        guidance: The scale; None for a single row.
        greedy: Whether plans take the likeliest words.
        sharpness: About the standard deviation of the logits.
        num_steps: Blocks of image tokens, 1 or more.
        batch_size: The largest physical batch.
    """

    name = "toy/tokens"
    context_length = 16

    @checked
    def __init__(
        self,
        *,
        image_length: Count = 3,
        vocabulary: Count = 5,
        text_length: Annotated[int, Field(ge=0)] = 0,
        words: Count = 4,
        width: Count = 6,
        guidance: Guidance = None,
        greedy: bool = False,
        sharpness: float = 1.0,
        num_steps: Count = 1,
        batch_size: Batch = 4,
    ) -> None:
        generator = torch.Generator().manual_seed(derive("toy/tokens", image_length, vocabulary, words, width))
        self.image_length, self.text_length = image_length, text_length
        self.rows, self.guidance = (1 if guidance is None else 2), guidance
        self.greedy, self.end = greedy, 0
        self.num_steps, self.batch_size = num_steps, batch_size
        self.vocabulary, self.words, self.width, self.sharpness = vocabulary, words, width, sharpness
        self.network = Recurrent(words + vocabulary, width, generator)
        self.heads = {
            "text": torch.randn(words, width, generator=generator) * sharpness / width**0.5,
            "image": torch.randn(vocabulary, width, generator=generator) * sharpness / width**0.5,
        }
        self.decoder = Levels(vocabulary)

    def logits(self, side: Side, hidden: Tensor) -> Tensor:
        """Linear in the states; with guidance unconditional + scale (conditional - unconditional)."""
        rows = (hidden[..., None, :] * self.heads[side].to(hidden)).sum(-1)
        conditional: Tensor = rows[..., 0, :]
        if side == "text":
            return conditional
        if self.guidance is None:
            return self._tilt(conditional)
        unconditional: Tensor = rows[..., 1, :]
        return self._tilt(unconditional + self.guidance * (conditional - unconditional))

    def write(self, tokens: Any) -> str:
        """The numbers of the words."""
        return " ".join(str(token) for token in tokens if token != self.end)

    @torch.no_grad()
    def sequences(self, prompt: str, plan: str = "") -> Iterator[tuple[tuple[int, ...], float]]:
        """The tokens of every picture with its probability given a plan, in closed form.

        Args:
            prompt: Of the picture.
            plan: Words, as `write` returns them.
        """
        start, _ = self._read(self._context(prompt, plan))
        for tokens in itertools.product(range(self.vocabulary), repeat=self.image_length):
            state, chance = start, 1.0
            for token in tokens:
                chance *= float(self.logits("image", state).softmax(-1)[token])
                state = self._step(torch.full((self.rows, 1), token), "image", state)[:, 0]
            yield tokens, chance

    def fingerprint(self) -> dict[str, Any]:
        """Everything the bits of a sample depend on, less the machine."""
        names = ("name", "image_length", "text_length", "guidance", "greedy", "sharpness", "num_steps", "batch_size")
        return {name: getattr(self, name) for name in names} | {"weights": module_hash(self.network)}

    def _context(self, prompt: str, plan: str | None) -> Context:
        text = prompt if plan is None else f"{prompt}. {plan}"
        ids = tuple(derive("toy/tokens", word) % self.words for word in text.split())
        return (ids,) if plan is None else (ids, (0,) * len(ids))[: self.rows]

    def _read(self, context: Context) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(context)
        pad = self.context_length - ids.shape[1]
        after = self.network(nn.functional.pad(ids, (pad, 0), value=-1), torch.zeros(len(ids), self.width))
        return after[:, -1], after[:, -1]

    def _open(self, cache: Tensor, context: Tensor, length: int) -> Tensor:
        return cache

    def _feed(self, side: Side, tokens: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        rows = live.shape[1]
        after = self._step(tokens.repeat_interleave(rows, 0), side, live.flatten(0, 1))
        after = after.unflatten(0, (-1, rows)).transpose(1, 2)
        return after, after[:, -1]

    def _step(self, tokens: Tensor, side: Side, state: Tensor) -> Tensor:
        after: Tensor = self.network(tokens + (self.words if side == "image" else 0), state)
        return after

    def _close(self, live: Tensor) -> Tensor:
        return live

    def _decode(self, tokens: Tensor) -> Media:
        pictures: Media = self.decoder(tokens)
        return pictures


class Levels(nn.Module):
    """A picture [3, 1, n] of n tokens: token v of V is the grey level v / (V - 1).

    Args:
        vocabulary: V.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.most = max(1, vocabulary - 1)

    def forward(self, tokens: Tensor) -> Media:
        """Pictures [b, 3, 1, n]."""
        return (tokens / self.most)[:, None, None].expand(-1, 3, -1, -1).contiguous()


def levels(media: Media, vocabulary: int) -> Tensor:
    """The tokens [b, n] of pictures of the toy.

    Args:
        media: [b, 3, 1, n].
        vocabulary: Of image tokens.
    """
    return (media[:, 0, 0] * max(1, vocabulary - 1)).round().long()
