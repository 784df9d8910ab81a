"""Chains of pictures whose first tokens are chosen by latents that move: what policy gradients on them walk with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from gensearch.core.gumbel import given
from gensearch.core.noise import exactly
from gensearch.core.sampling import roll
from gensearch.core.types import Noise, Recipe, Round
from gensearch.core.verbs import Side, TokenModel, Trace
from gensearch.search.tokens.journal import Drawing, Journal
from gensearch.search.tokens.latents import Baseline, Credit, Latents, advantages, follow, slope, within
from verifiers.types import Media, Verifier


class How(NamedTuple):
    """What a move is bounded by."""

    credit: Credit
    anchor: float
    radius: float | None
    freeze_unconditional: bool


@dataclass
class Chains:
    """The latents of both sides, an optimiser for each that moved, and the plans [chains, t], kept where text stays."""

    model: TokenModel
    verifier: Verifier
    prompt: str
    plain: tuple[Recipe, ...]  # of the first pictures
    journal: Journal | None = None
    latents: dict[Side, Latents] = field(default_factory=dict)
    adam: dict[Side, torch.optim.Adam] = field(default_factory=dict)
    average: Tensor | None = None  # of rewards, [chains]
    drawn: int = 0
    lr: float = 0.0
    trace: Trace = field(init=False)  # of the pictures that were drawn last

    def begin(self, start: Noise, shares: Mapping[Side, float], lr: float) -> Round:
        """Draw the first picture of every chain, and take the states behind its first tokens."""
        round = self.draw(start, self.plain)
        self.latents = {side: Latents.take(side, self.trace, share) for side, share in shares.items()}
        self.lr = lr
        return round

    def draw(self, noise: Noise, recipes: Sequence[Recipe]) -> Round:
        """Pictures [chains * m, ...] of noise; each after the first of its chain is derived from that one."""
        chains, m = len(self.plain), len(noise) // len(self.plain)

        def drawing() -> Drawing:
            state, media, scores = roll(self.model, self.verifier, self.prompt, noise)
            return Drawing(self.model.trace(state), media, scores)

        self.trace, media, scores = self.journal.recall(noise, drawing) if self.journal else drawing()
        self.plan = self.trace.text[::m]
        ids = tuple(range(self.drawn, self.drawn + len(noise)))
        parents = [chain if self.drawn else None for chain in range(chains) for _ in range(m)]
        self.drawn += len(noise)
        return Round(media, scores, tuple(recipes), ids, tuple(parents))

    def redraw(self, start: Noise, moving: Sequence[Side], free: bool) -> Round:
        """Pictures by noise [chains * m, positions] whose first positions say what the latents choose.

        A plan that is not moved is kept, and image tokens may be left `free`.
        """
        chains, text = len(self.plain), self.model.text_length
        noise = start.unflatten(0, (chains, -1))
        words, pixels = noise[..., :text], noise[..., text:]
        if "text" in moving:
            words = self.latents["text"].decide(self.model, words)
        else:
            words = given(self.plan)[:, None].expand_as(words)
        pixels = pixels if free else self.latents["image"].decide(self.model, pixels)
        made = torch.cat([words, pixels], 2).flatten(0, 1)
        plain = [recipe for recipe in self.plain for _ in range(noise.shape[1])]
        return self.draw(made, exactly(plain, made[:, None]))

    def gains(self, round: Round, baseline: Baseline, shift: float, diversity: float) -> Tensor:
        """Rewards of the pictures less a baseline, [chains, m]."""
        rewards = round.scores.total.cpu().double().unflatten(0, (len(self.plain), -1)) + shift
        if diversity:
            rewards = rewards + diversity * apart(round.media, rewards.shape[1])
        found = advantages(rewards, baseline, self.average)
        self.average = follow(self.average, rewards)
        return found

    def move(self, sides: Sequence[Side], gains: Tensor, how: How) -> None:
        """One step up the slope that samples show, gains [chains, m]."""
        for side in sides:
            part = self.latents[side]
            drawn, said = credited(self.trace, part, gains.shape[1])
            found = slope(self.model, part, drawn, said, gains, how.credit, how.anchor)
            if how.freeze_unconditional and side == "image":
                found[..., 1:, :] = 0
            part.z.grad = -found
            if side not in self.adam:
                self.adam[side] = torch.optim.Adam([part.z], self.lr)
            self.adam[side].step()
            if how.radius is not None:
                part.z.copy_(within(part.z, part.start, how.radius))


def credited(trace: Trace, latents: Latents, m: int) -> tuple[Tensor, Tensor]:
    """The tokens [chains, m, n] of a side at the positions in play, and which of them were said at all."""
    tokens, _, lengths = trace.of(latents.side)
    n = latents.z.shape[1]
    said = torch.arange(n) < lengths[:, None]
    return tokens[:, :n].unflatten(0, (-1, m)), said.unflatten(0, (-1, m))


def apart(media: Media, m: int) -> Tensor:
    """How far pictures are from those of other chains, [chains, m]: the mean distance of pixels on an 8x8 grid."""
    small = torch.nn.functional.adaptive_avg_pool2d(media.float().cpu(), 8).flatten(1).double()
    distance = torch.cdist(small, small, p=1) / small.shape[1]
    chain = torch.arange(len(media)) // m
    other = (chain[:, None] != chain).double()
    return ((distance * other).sum(1) / other.sum(1).clamp(min=1)).view(-1, m)
