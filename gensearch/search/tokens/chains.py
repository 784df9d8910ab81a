"""Chains of pictures whose first tokens are chosen by latents: the state of a policy gradient on latents."""

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
    """How latents are shifted: who gets the credit, and how far they may go."""

    credit: Credit
    anchor: float
    radius: float | None
    freeze_unconditional: bool


@dataclass
class Chains:
    """The latents of both sides, an optimiser for each that was shifted, and the plans, kept if text stays as it is."""

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
        """Draw the first picture of every chain, and take the states behind its first tokens as latents."""
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
        """Pictures from noise [chains * m, positions] whose first positions hold what the latents choose.

        A plan whose latents are not in `moving` is kept, and image tokens may be drawn `free` of latents.
        """
        chains, text = len(self.plain), self.model.text_length
        noise = by_chain(start, chains)
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
        rewards = by_chain(round.scores.total.cpu().double(), len(self.plain)) + shift
        if diversity:
            rewards = rewards + diversity * apart(round.media, rewards.shape[1])
        found = advantages(rewards, baseline, self.average)
        self.average = follow(self.average, rewards)
        return found

    def move(self, sides: Sequence[Side], gains: Tensor, how: How) -> None:
        """One step of Adam along the policy gradient of gains [chains, m]."""
        for side in sides:
            part = self.latents[side]
            tokens, drawn = credited(self.trace, part, gains.shape[1])
            found = slope(self.model, part, tokens, drawn, gains, how.credit, how.anchor)
            if how.freeze_unconditional and side == "image":
                found[..., 1:, :] = 0
            part.z.grad = -found
            if side not in self.adam:
                self.adam[side] = torch.optim.Adam([part.z], self.lr)
            self.adam[side].step()
            if how.radius is not None:
                part.z.copy_(within(part.z, part.start, how.radius))


def by_chain(rows: Tensor, chains: int) -> Tensor:
    """Rows [chains * m, *] as [chains, m, *]."""
    return rows.reshape(chains, len(rows) // chains, *rows.shape[1:])


def credited(trace: Trace, latents: Latents, m: int) -> tuple[Tensor, Tensor]:
    """The tokens [chains, m, n] of a side at the positions of its latents, and which of them were drawn at all."""
    tokens, _, lengths = trace.of(latents.side)
    n = latents.z.shape[1]
    drawn = torch.arange(n) < lengths[:, None]
    return by_chain(tokens[:, :n], len(tokens) // m), by_chain(drawn, len(drawn) // m)


def apart(media: Media, m: int) -> Tensor:
    """Distances of pictures to those of other chains [chains, m]: mean difference of pixels on an 8x8 grid."""
    small = torch.nn.functional.adaptive_avg_pool2d(media.float().cpu(), 8).flatten(1).double()
    distance = torch.cdist(small, small, p=1) / small.shape[1]
    chain = torch.arange(len(media)) // m
    other = (chain[:, None] != chain).double()
    return ((distance * other).sum(1) / other.sum(1).clamp(min=1)).view(-1, m)
