"""Latents of autoregressive image models: the states behind the first tokens of a side, and their policy gradient.

The gradient of E[R] is taken per position as E[R d log p(token) / d state] (LatentSeek, Li et al. 2025,
arXiv:2505.13308; MILR, Mi et al. 2025, arXiv:2509.22761). Only heads are differentiated; weights never are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gensearch.core.gumbel import given
from gensearch.core.types import Noise
from gensearch.core.verbs import Side, TokenModel, Trace

Credit = Literal["sampled", "argmax"]
Baseline = Literal["none", "ema", "loo"]


@dataclass
class Latents:
    """One side of several chains: fp32 masters of states on the CPU, their start, and how many each chain has."""

    side: Side
    start: Tensor  # [chains, n, rows, width]
    z: Tensor
    counts: Tensor  # [chains], at most n

    @classmethod
    def take(cls, side: Side, trace: Trace, share: float) -> Latents:
        """The states behind the first int(share * length) tokens of every sample of a trace."""
        _, states, lengths = trace.of(side)
        counts = (lengths.double() * share + 1e-9).long()  # 0.29 * 100 is 29 also in floating point
        start = states[:, : int(counts.max())].detach().float().cpu().clone()
        return cls(side, start, start.clone(), counts)

    @property
    def mask(self) -> Tensor:
        """[chains, n] bool: positions that a chain has latents for."""
        return torch.arange(self.z.shape[1]) < self.counts[:, None]

    def decide(self, model: TokenModel, noise: Noise) -> Noise:
        """Noise [chains, m, positions of this side] whose first positions hold the tokens that the latents choose."""
        chains, m, _ = noise.shape
        if not self.z.shape[1]:
            return noise
        own = noise[:, :, : self.z.shape[1]]
        with torch.no_grad():
            tokens = model.choose(self.side, self.z.repeat_interleave(m, 0), own.flatten(0, 1))
        noise = noise.clone()
        chosen = given(tokens).view(chains, m, -1)
        noise[:, :, : self.z.shape[1]] = torch.where(self.mask[:, None], chosen, own)
        return noise

    def disturbed(self, xi: Tensor) -> Latents:
        """The same latents at their start plus some noise."""
        return replace(self, z=self.start + xi.to(self.start))


def slope(
    model: TokenModel,
    latents: Latents,
    tokens: Tensor,
    drawn: Tensor,
    advantages: Tensor,
    credit: Credit,
    anchor: float = 0.0,
) -> Tensor:
    """The gradient of the expected reward with respect to latents, estimated from samples; shaped like `latents.z`.

    `tokens` [chains, m, n] count where they were `drawn` [chains, m, n] (not after a plan's end), and `advantages`
    [chains, m] are their rewards less a baseline. "sampled" gives credit to these tokens (REINFORCE), "argmax" to the
    likeliest ones whatever was drawn, as released code does. `anchor` is the weight of KL(p_z || p_start), per nat.
    """
    with torch.enable_grad():
        z = latents.z.detach().requires_grad_()
        logits = model.logits(latents.side, z).log_softmax(-1)  # [chains, n, vocabulary]
        wanted = logits.argmax(-1)[:, None].expand_as(tokens) if credit == "argmax" else tokens
        chosen = logits.gather(-1, wanted.transpose(1, 2).to(logits.device)).transpose(1, 2)  # [chains, m, n]
        counted = (drawn & latents.mask[:, None]).to(chosen)
        gain = (advantages.to(chosen)[..., None] * chosen * counted).sum() / advantages.shape[1]
        if anchor:
            with torch.no_grad():
                before = model.logits(latents.side, latents.start).log_softmax(-1)
            divergence = (logits.exp() * (logits - before)).sum(-1)
            gain = gain - anchor * (divergence * latents.mask.to(divergence)).sum()
        (found,) = torch.autograd.grad(gain, z)
    return found


def within(z: Tensor, start: Tensor, radius: float) -> Tensor:
    """`z` with every state at most `radius` times the norm of its start away from it."""
    away = z - start
    reach = radius * start.norm(dim=-1, keepdim=True)
    share: Tensor = reach / away.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return start + away * share.clamp(max=1)


def advantages(rewards: Tensor, baseline: Baseline, average: Tensor | None) -> Tensor:
    """Rewards [chains, m] less a baseline; 0 where nothing could be scored (-inf).

    "ema" takes a running `average` [chains], None before the first; "loo" the mean of the chain's other samples.
    """
    scored = rewards.isfinite()
    known = rewards.masked_fill(~scored, 0)
    if baseline == "ema":
        average = mean(rewards) if average is None else average
        found = known - average[:, None].nan_to_num(0)
    elif baseline == "loo":
        others = scored.sum(1, keepdim=True) - 1
        found = known - (known.sum(1, keepdim=True) - known) / others.clamp(min=1)
        found = found * (others > 0)
    else:
        found = known
    return found.masked_fill(~scored, 0)


def mean(rewards: Tensor) -> Tensor:
    """The mean reward of each chain [chains, m] over what could be scored; NaN without any."""
    return rewards.masked_fill(~rewards.isfinite(), torch.nan).nanmean(1)


def follow(average: Tensor | None, rewards: Tensor, decay: float = 0.9) -> Tensor:
    """The running average [chains] after these rewards; chains that could not be scored keep theirs."""
    new = mean(rewards)
    if average is None:
        return new
    moved = torch.where(average.isnan(), new, decay * average + (1 - decay) * new)
    return torch.where(new.isnan(), average, moved)
