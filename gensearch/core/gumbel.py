"""Chance for tokens: a position's noise is a normal number that keys its Gumbel noise, or it is the token itself."""

from __future__ import annotations

import struct

import torch
from torch import Tensor

from gensearch.core.noise import derive
from gensearch.core.types import Noise

GIVEN = 2.0**20  # noise from here on is a token; float32 holds the sum exactly for 15 million of them


def given(tokens: Tensor) -> Noise:
    """The noise that says these tokens, of the same shape."""
    return tokens.float() + GIVEN


def told(noise: Noise) -> Tensor:
    """The tokens that noise says itself, int64 of the same shape, and -1 where it leaves them to chance."""
    return torch.where(noise >= GIVEN, noise - GIVEN, -1.0).long()


def prefix(noise: Noise) -> Tensor:
    """How many tokens each row of noise [b, n] says itself before the first left to chance, [b]."""
    return (noise >= GIVEN).long().cumprod(1).sum(1)


def pick(logits: Tensor, noise: Noise, position: int) -> Tensor:
    """A token for each row: the one that noise [b] says, or else a sample of softmax(logits [b, v]), by Gumbel-max.

    The Gumbel noise depends on the row's number and the position only, so a change of logits changes few tokens.
    """
    chance = gumbel(noise, position, logits.shape[-1])
    drawn = (logits.double() + chance.to(logits.device)).argmax(-1)
    said = told(noise).to(logits.device)
    return torch.where(said >= 0, said, drawn)


def gumbel(noise: Noise, position: int, size: int) -> Tensor:
    """Standard Gumbel noise [b, size], float64 on the CPU, each row from the bits of its number [b] and a position."""
    uniform = torch.empty(len(noise), size, dtype=torch.float64)
    generator = torch.Generator()
    for row, number in zip(uniform, noise.tolist(), strict=True):
        (bits,) = struct.unpack("<I", struct.pack("<f", number))
        torch.rand(size, generator=generator.manual_seed(derive("gumbel", bits, position)), out=row)
    return uniform.log_().neg_().log_().neg_()
