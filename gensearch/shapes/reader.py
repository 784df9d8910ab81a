"""The networks of the embedded critics: a picture in, and for each shape how many, which colour and where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPES, COUNTS, COLORS, RELATIONS = 8, 6, 9, 4  # counts 0 to 5 and more; the last colour is "none or several"
PLACE = 8  # numbers in which a shape hands its place to the head of relations


class Reading(NamedTuple):
    """Logits of b pictures; the columns of `gensearch.shapes.train.judges.labels.Table`.

    Attributes:
        some: number of objects of each shape, [b, 8, 6].
        sure: number of those without a flaw, [b, 8, 6].
        color: of the clearest object, [b, 8, 9].
        every: the colour of all objects, [b, 8, 9].
        relation: of the clearest objects of two shapes, [b, 8, 8, 4].
    """

    some: Tensor
    sure: Tensor
    color: Tensor
    every: Tensor
    relation: Tensor


class Attention(nn.Module):
    """Multi-head attention of queries to a memory, with a residual connection around it and its norm.

    Args:
        width: of queries and memory.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Return x [b, n, width] after it has read the memory [b, m, width], or itself."""
        normed = self.norm(x)
        keys, values = self.value(normed if memory is None else memory).chunk(2, -1)
        split = [t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.query(normed), keys, values)]
        read = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        update: Tensor = self.out(read)
        return x + update


class Mix(nn.Module):
    """A two-layer perceptron with a residual connection around it and its norm.

    Args:
        width: of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [b, n, width]."""
        update: Tensor = self.layers(x)
        return x + update


class Convolutions(nn.Module):
    """Seven convolutions from cells of 2x2 pixels to a map of 8x8, which one query for each shape reads.

    Queries do not see each other: which shapes occur together is no evidence.

    Args:
        width: of map and queries.
        depth: layers of reading.
    """

    def __init__(self, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        channels, plan = 12, ((48, 1), (64, 1), (96, 2), (96, 1), (width, 2), (width, 1), (width, 1))
        for wide, stride in plan:
            layers += [nn.Conv2d(channels, wide, 3, stride, 1), nn.GroupNorm(8, wide), nn.SiLU()]
            channels = wide
        self.map = nn.Sequential(*layers)
        self.place = nn.Parameter(0.02 * torch.randn(64, width))
        self.queries = nn.Parameter(torch.randn(SHAPES, width))
        self.norm = nn.LayerNorm(width)
        self.read = nn.ModuleList([Attention(width, 4) for _ in range(depth)])
        self.mix = nn.ModuleList([Mix(width) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector for each shape, [b, 8, width], from pictures [b, 3, 64, 64]."""
        memory = self.norm(self.map(x).flatten(2).transpose(1, 2) + self.place)
        queries = self.queries.expand(len(x), -1, -1)
        for read, mix in zip(self.read, self.mix, strict=True):
            queries = mix(read(queries, memory))
        return queries


class Patches(nn.Module):
    """A transformer on the 64 patches of a picture and one token for each shape, which all attend to each other.

    Args:
        width: of the tokens.
        depth: layers.
    """

    def __init__(self, width: int = 128, depth: int = 6) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 8, 8)
        self.place = nn.Parameter(0.02 * torch.randn(64, width))
        self.queries = nn.Parameter(torch.randn(SHAPES, width))
        self.read = nn.ModuleList([Attention(width, 4) for _ in range(depth)])
        self.mix = nn.ModuleList([Mix(width) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector for each shape, [b, 8, width], from pictures [b, 3, 64, 64]."""
        patches = self.cut(x).flatten(2).transpose(1, 2) + self.place
        tokens = torch.cat([patches, self.queries.expand(len(x), -1, -1)], 1)
        for read, mix in zip(self.read, self.mix, strict=True):
            tokens = mix(read(tokens))
        return tokens[:, -SHAPES:]


BODIES: dict[str, type[nn.Module]] = {"convolutions": Convolutions, "patches": Patches}


class Reader(nn.Module):
    """A body, and heads that all shapes share, so that what was learnt of a colour holds for every shape.

    Args:
        body: one of `BODIES`.
        width: of its vectors.
        depth: its layers.
    """

    def __init__(self, body: str, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.body = BODIES[body](width, depth)
        self.norm = nn.LayerNorm(width)
        self.some, self.sure = nn.Linear(width, COUNTS), nn.Linear(width, COUNTS)
        self.color, self.every = nn.Linear(width, COLORS), nn.Linear(width, COLORS)
        self.where = nn.Linear(width, PLACE)  # a bottleneck, so that relations do not depend on the shapes
        self.relation = nn.Sequential(nn.Linear(2 * PLACE, 64), nn.SiLU(), nn.Linear(64, RELATIONS))

    def forward(self, x: Tensor) -> Reading:
        """Return the reading of pictures [b, 3, 64, 64] in [0, 1]."""
        seen = self.norm(self.body(2 * x - 1))
        place = self.where(seen)
        pairs = [place[:, :, None].expand(-1, -1, SHAPES, -1), place[:, None].expand(-1, SHAPES, -1, -1)]
        relation = self.relation(torch.cat(pairs, -1))
        return Reading(self.some(seen), self.sure(seen), self.color(seen), self.every(seen), relation)
