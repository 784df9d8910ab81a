"""Gumbel-max sampling of tokens: the noise of a position seeds its Gumbel noise, or encodes the token itself."""

from __future__ import annotations

import struct

import torch
from torch import Tensor

from gensearch.core.noise import derive
from gensearch.core.types import Noise

GIVEN = 2.0**20  # noise from here on encodes a token: GIVEN + token, exact in float32 for 15 million tokens


def given(tokens: Tensor) -> Noise:
    """The noise that encodes given tokens.

    Args:
        tokens: int64 of any shape, 0 or more.
    """
    return tokens.float() + GIVEN


def encoded(noise: Noise) -> Tensor:
    """The tokens that noise encodes, int64 of the same shape; -1 where the token is to be sampled.

    Args:
        noise: Of any shape.
    """
    return torch.where(noise >= GIVEN, noise - GIVEN, -1.0).long()


def prefix(noise: Noise) -> Tensor:
    """How many tokens each row of noise encodes before the first that is to be sampled, [b].

    Args:
        noise: [b, n].
    """
    return (noise >= GIVEN).long().cumprod(1).sum(1)


def pick(logits: Tensor, noise: Noise, position: int) -> Tensor:
    """A token for each row [b]: the one that its noise encodes, or else a sample of softmax(logits), by Gumbel-max.

    The Gumbel noise depends on the row's noise and the position only, so that a change of logits changes few tokens.

    Args:
        logits: [b, vocabulary].
        noise: [b].
        position: In the sequence, from 0.
    """
    perturbation = gumbel(noise, position, logits.shape[-1])
    sampled = (logits.double() + perturbation.to(logits.device)).argmax(-1)
    known = encoded(noise).to(logits.device)
    return torch.where(known >= 0, known, sampled)


def gumbel(noise: Noise, position: int, size: int) -> Tensor:
    """Standard Gumbel noise [b, size], float64 on the CPU; a row is seeded by the bits of its noise and the position.

    Args:
        noise: [b].
        position: In the sequence, from 0.
        size: Of the vocabulary.
    """
    uniform = torch.empty(len(noise), size, dtype=torch.float64)
    generator = torch.Generator()
    for row, number in zip(uniform, noise.tolist(), strict=True):
        (bits,) = struct.unpack("<I", struct.pack("<f", number))
        torch.rand(size, generator=generator.manual_seed(derive("gumbel", bits, position)), out=row)
    return uniform.log_().neg_().log_().neg_()
