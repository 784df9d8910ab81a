"""Transformers' language models in our own cached loop: contexts one by one, tokens in physical batches."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gensearch.core.verbs import Side
from gensearch.models.tokens.decoding import Context, Decoding


class Live(NamedTuple):
    """The state from which a batch is decoded.

    Attributes:
        cache: Of transformers.
        mask: Positions that are attended to, [b * rows, length].
        rows: Of guidance.
    """

    cache: Any
    mask: Tensor
    rows: int


class Language(Decoding):
    """A decoder-only transformer of transformers with its tokenizer.

    Attributes:
        tokenizer: Of the model.
        padded: Tokens to which contexts are padded, on the left.
        longest: Tokens that may follow a context.
        language: The transformer, whose last hidden states are those after the final norm.
    """

    tokenizer: Any
    padded: int
    longest: int
    language: Any

    @property
    def context_length(self) -> int:
        """Tokens to which a context is padded."""
        return self.padded

    def _embed(self, side: Side, tokens: Tensor) -> Tensor:
        """Embeddings [b, k, width] of tokens [b, k] of a side."""
        embedded: Tensor = self.language.get_input_embeddings()(tokens)
        return embedded

    def write(self, tokens: Sequence[int]) -> str:
        """Words of text tokens, without special ones."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text.strip()

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text)["input_ids"])

    def _read(self, context: Context) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(context, device=self.language.device)
        pad = self.padded - ids.shape[1]
        ids = torch.nn.functional.pad(ids, (pad, 0), value=self.tokenizer.pad_token_id)
        mask = torch.ones_like(ids)
        mask[:, :pad] = 0
        hidden, live = self._pass(self._embed("text", ids), Live(self._cache(), mask[:, :0], len(ids)), mask)
        return hidden[:, -1], self._close(live)[0]

    def _open(self, cache: Tensor, context: Tensor, length: int) -> Live:
        rows, filled = cache.shape[1], self.padded + length
        live = self._cache()
        for number, layer in enumerate(cache.flatten(0, 1).unbind(1)):  # [b * rows, 2, heads, length, width]
            keys, values = layer[..., :filled, :].unbind(1)
            live.update(keys, values, number)
        place = torch.arange(filled) >= self.padded - context[:, None]
        return Live(live, place.long().repeat_interleave(rows, 0).to(cache.device), rows)

    def _feed(self, side: Side, tokens: Tensor, live: Live) -> tuple[Tensor, Live]:
        tokens = tokens.to(self.language.device).repeat_interleave(live.rows, 0)
        hidden, live = self._pass(self._embed(side, tokens), live, torch.ones_like(tokens))
        return hidden.unflatten(0, (-1, live.rows)).transpose(1, 2), live

    def _close(self, live: Live) -> Tensor:
        layers = live.cache.layers
        b, heads, length, width = layers[0].keys.shape
        cache: Tensor = layers[0].keys.new_zeros(b, len(layers), 2, heads, self.padded + self.longest, width)
        for number, layer in enumerate(layers):
            cache[:, number, 0, :, :length], cache[:, number, 1, :, :length] = layer.keys, layer.values
        return cache.reshape(-1, live.rows, *cache.shape[1:])

    def _cache(self) -> Any:
        from gensearch.models.tokens.kv_cache import reserved

        return reserved(self.language.config, self.padded + self.longest)

    def _pass(self, embedded: Tensor, live: Live, mask: Tensor) -> tuple[Tensor, Live]:
        """One pass of the transformer: states in fp32 [b * rows, k, width]."""
        mask = torch.cat([live.mask, mask], 1)
        place = (mask.cumsum(1) - 1).clamp(min=0)[:, -embedded.shape[1] :]
        keep = {self._cache_name: live.cache}
        if embedded.shape[1] == 1 and not self._windowed and self.language.config._attn_implementation == "sdpa":
            attended = mask.bool()[:, None, None]  # what transformers would compute, slowly, for each token
        else:
            attended = mask
        out = self.language(inputs_embeds=embedded, attention_mask=attended, position_ids=place, use_cache=True, **keep)
        return out.last_hidden_state.float(), Live(live.cache, mask, live.rows)

    @cached_property
    def _windowed(self) -> bool:
        from gensearch.models.tokens.kv_cache import windowed

        return windowed(self.language.config)

    @cached_property
    def _cache_name(self) -> str:
        """The name of the cache argument in this version of transformers."""
        return "cache" if "cache" in inspect.signature(self.language.forward).parameters else "past_key_values"


def filled(template: str, **fields: str) -> str:
    """A template with {name} replaced by each field; braces inside fields are left as they are.

    Args:
        template: Of a prompt.
        fields: By name.
    """
    return re.sub(r"\{(\w+)\}", lambda found: fields.get(found[1], found[0]), template)
