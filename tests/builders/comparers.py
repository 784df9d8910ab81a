"""Comparers of pairs whose answers are known."""

from __future__ import annotations

import torch

from gensearch.core.noise import derive


def worth(media):
    """The mean of each picture, by which all comparers here know it."""
    return media.flatten(1).double().mean(1)


class Fair:
    """Prefers the brighter picture with certainty `sure`, and counts the ordered pairs that it was asked about."""

    differentiable = False

    def __init__(self, sure=1.0, name="fair"):
        self.sure, self.name = sure, name
        self.asked = 0

    def compare(self, media_a, media_b, prompts):
        self.asked += len(prompts)
        difference = worth(media_a) - worth(media_b)
        return torch.where(difference == 0, 0.5, torch.where(difference > 0, self.sure, 1 - self.sure))


class Placed(Fair):
    """Prefers whatever is shown first, unless the difference is large."""

    def __init__(self, most=0.0):
        super().__init__(name="placed")
        self.most = most

    def compare(self, media_a, media_b, prompts):
        self.asked += len(prompts)
        difference = worth(media_a) - worth(media_b)
        return torch.where(difference.abs() > self.most, (difference > 0).double(), 0.9)


class Silent(Fair):
    """A fair comparer without an answer where a picture is darker than `least`."""

    def __init__(self, least):
        super().__init__(name="silent")
        self.least = least

    def compare(self, media_a, media_b, prompts):
        dark = (worth(media_a) < self.least) | (worth(media_b) < self.least)
        return super().compare(media_a, media_b, prompts).masked_fill(dark, torch.nan)


class Noisy(Fair):
    """Answers 1 with the probability of Bradley and Terry, from logits of the pictures' means; else 0."""

    def __init__(self, seed, scale):
        super().__init__(name="noisy")
        self.seed, self.scale = seed, scale

    def compare(self, media_a, media_b, prompts):
        self.asked += len(prompts)
        generator = torch.Generator().manual_seed(derive(self.seed, str(self.asked)))
        chance = ((worth(media_a) - worth(media_b)) * self.scale).sigmoid()
        return (torch.rand(len(chance), generator=generator, dtype=torch.float64) < chance).double()


def grey(values):
    """Pictures [n, 3, 2, 2] of these means."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
