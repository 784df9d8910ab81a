"""A key-value cache that is written in place."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


class Reserved(DynamicLayer):  # type: ignore[misc]  # its base is Any: transformers is not followed
    """A cache layer with memory for a fixed number of tokens; DynamicLayer copies its contents at every token.

    Args:
        longest: Tokens that fit.
    """

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.room: tuple[Tensor, ...] = ()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """All keys and values so far, [b, heads, length, width], with new ones at the end.

        Args:
            key_states: [b, heads, k, width].
            value_states: [b, heads, k, width].
            args: Ignored.
            kwargs: Ignored.

        Raises:
            IndexError: They do not fit.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room = tuple(x.new_empty(*x.shape[:2], self.longest, x.shape[3]) for x in (key_states, value_states))
        begin = self.get_seq_length()
        end = begin + key_states.shape[2]
        if end > self.longest:
            raise IndexError(f"{end} tokens are too many for a cache of {self.longest}")
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, begin:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


def reserved(config: Any, longest: int) -> DynamicCache:
    """A cache with room for a fixed number of tokens; sliding-window attention is left to the mask.

    All keys are kept, so that samples can branch from any position.

    Args:
        config: Of a language model of transformers.
        longest: Tokens that fit.

    Raises:
        ValueError: A layer keeps anything but keys and values.
    """
    cache = DynamicCache(config=config)
    for layer in cache.layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            raise ValueError(
                f"a {type(layer).__name__} does not keep keys and values alone; "
                "load a language model with full or sliding attention in all layers"
            )
    cache.layers = [Reserved(longest) for _ in cache.layers]
    return cache


def windowed(config: Any) -> bool:
    """Whether some layer of a model has sliding-window attention."""
    return any(isinstance(layer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers)
