"""Flex attention by plain matrix products, for CPUs, where torch would trace it again at every call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as module
from torch.nn.attention.flex_attention import BlockMask, create_mask

LOCK = threading.RLock()


@contextmanager
def dense_attention(device: torch.device, masks: dict[int, tuple[BlockMask, Tensor]]) -> Iterator[None]:
    """Compute flex attention on a CPU by plain matrix products, with the bits of torch's own; elsewhere leave it.

    Args:
        device: Of the network.
        masks: A cache of block masks as matrices, by their ids; it holds the masks too, so that ids stay unique.
    """
    if device.type != "cpu":
        yield
        return

    def attend(query: Tensor, key: Tensor, value: Tensor, **given: Any) -> Tensor:
        mask = given.get("block_mask")
        if mask is not None and id(mask) not in masks:
            masks[id(mask)] = mask, matrix(mask, query, key)
        dense = None if mask is None else masks[id(mask)][1]
        return attention(query, key, value, dense, given.get("scale"))

    with LOCK:
        own = module.flex_attention
        module.flex_attention = attend  # type: ignore[assignment]  # it takes the arguments that are used here
        try:
            yield
        finally:
            module.flex_attention = own


def matrix(mask: BlockMask, query: Tensor, key: Tensor) -> Tensor:
    """A block mask as a matrix, bool [1, 1, queries, keys].

    Args:
        mask: The block mask.
        query: [b, heads, queries, width].
        key: [b, heads, keys, width].
    """
    return create_mask(mask.mask_mod, None, None, query.shape[2], key.shape[2], device=str(query.device))


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Attention in the order of operations of torch's reference.

    Args:
        query: [b, heads, queries, width].
        key: [b, heads, keys, width].
        value: [b, heads, keys, width].
        mask: Bool [1, 1, queries, keys], or None.
        scale: Of the scores; None for 1 / sqrt(width).
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query.float() @ key.float().transpose(-2, -1) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights: Tensor = torch._safe_softmax(scores, dim=-1)
    return weights.to(query.dtype) @ value
