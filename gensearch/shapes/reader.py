"""The networks of the embedded critics: a picture in, and for each shape how many, which colour and where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPES, COUNTS, COLORS, RELATIONS = 8, 6, 9, 4  # counts 0 to 5 and more; the last colour is "none or several"
SIDE = 8  # cells along one side of a picture
CELL = (SHAPES + 1, 1, COLORS, 4)  # logits of one cell: shape or none, certainty, colour, box
PLACE = 8  # numbers in which a shape hands its place to the head of relations


class Reading(NamedTuple):
    """Logits of b pictures; the columns of `gensearch.shapes.train.judges.labels.Table`.

    Attributes:
        some: number of objects of each shape, [b, 8, 6].
        sure: number of those without a flaw, [b, 8, 6].
        color: of the clearest object, [b, 8, 9].
        every: the colour of all objects, [b, 8, 9].
        relation: of the clearest objects of two shapes, [b, 8, 8, 4].
        cells: the object whose centre is in each cell, row by row, [b, 64, 23] in the parts of `CELL`.
    """

    some: Tensor
    sure: Tensor
    color: Tensor
    every: Tensor
    relation: Tensor
    cells: Tensor


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
    """Seven convolutions from pixels in groups of 2x2 to a vector for each of 8x8 cells.

    Args:
        width: of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        channels, plan = 12, ((48, 1), (64, 1), (96, 2), (96, 1), (width, 2), (width, 1), (width, 1))
        for wide, stride in plan:
            layers += [nn.Conv2d(channels, wide, 3, stride, 1), nn.SiLU()]
            channels = wide
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors [b, 64, width] of pictures [b, 3, 64, 64]."""
        cells: Tensor = self.layers(x).flatten(2).transpose(1, 2)
        return cells


class Patches(nn.Module):
    """A transformer on the patches of a picture, one for each of 8x8 cells.

    Args:
        width: of the vectors.
        depth: layers.
    """

    def __init__(self, width: int, depth: int = 5) -> None:
        super().__init__()
        self.cut = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.GELU(), nn.Conv2d(32, width, 4, 4))
        self.place = nn.Parameter(0.02 * torch.randn(SIDE * SIDE, width))
        self.layers = nn.Sequential(*(nn.Sequential(Attention(width, 4), Mix(width)) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors [b, 64, width] of pictures [b, 3, 64, 64]."""
        cells: Tensor = self.layers(self.cut(x).flatten(2).transpose(1, 2) + self.place)
        return cells


BODIES: dict[str, type[nn.Module]] = {"convolutions": Convolutions, "patches": Patches}


class Reader(nn.Module):
    """A body that tells which cell holds which object; every shape gathers its cells, and heads answer for all alike.

    Heads are shared by all shapes, so that what was learnt of a colour holds for every shape. Shapes do not see each
    other: which of them occur together is no evidence.

    Args:
        body: one of `BODIES`.
        width: of its vectors.
        depth: layers in which shapes read all cells.
    """

    def __init__(self, body: str, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.body, self.body_norm = BODIES[body](width), nn.LayerNorm(width)
        self.cell = nn.Linear(width, sum(CELL))
        self.place = nn.Parameter(0.02 * torch.randn(SIDE * SIDE, width))
        self.queries = nn.Parameter(torch.randn(SHAPES, width))
        self.value, self.gathered = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.read = nn.ModuleList([Attention(width, 4) for _ in range(depth)])
        self.mix = nn.ModuleList([Mix(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.some, self.sure = nn.Linear(width, COUNTS), nn.Linear(width, COUNTS)
        self.color, self.every = nn.Linear(width, COLORS), nn.Linear(width, COLORS)
        self.where = nn.Linear(width, PLACE)  # a bottleneck, so that relations do not depend on the shapes
        self.relation = nn.Sequential(nn.Linear(2 * PLACE, 64), nn.SiLU(), nn.Linear(64, RELATIONS))

    def forward(self, x: Tensor) -> Reading:
        """Return the reading of pictures [b, 3, 64, 64] in [0, 1]."""
        memory = self.body_norm(self.body(2 * x - 1))
        cells = self.cell(memory)
        memory = memory + self.place
        queries = self.queries + self.gather(memory, cells)
        for read, mix in zip(self.read, self.mix, strict=True):
            queries = mix(read(queries, memory))
        seen = self.norm(queries)
        place = self.where(seen)
        pairs = [place[:, :, None].expand(-1, -1, SHAPES, -1), place[:, None].expand(-1, SHAPES, -1, -1)]
        relation = self.relation(torch.cat(pairs, -1))
        return Reading(self.some(seen), self.sure(seen), self.color(seen), self.every(seen), relation, cells)

    def gather(self, memory: Tensor, cells: Tensor) -> Tensor:
        """Return for each shape [b, 8, width] the sum over the cells that hold it, and over those that are certain.

        Sums, unlike averages, can be counted.

        Args:
            memory: of the cells, [b, 64, width].
            cells: their logits, [b, 64, 23].
        """
        shape, certainty = cells.split(CELL, -1)[:2]
        holds = shape.softmax(-1)[..., :SHAPES].transpose(1, 2)
        certain = holds * certainty.sigmoid().transpose(1, 2)
        some, sure = self.value(memory).chunk(2, -1)
        gathered: Tensor = self.gathered(torch.cat([holds.to(some) @ some, certain.to(sure) @ sure], -1))
        return gathered
