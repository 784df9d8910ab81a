"""Rendered scenes with malformed objects of many kinds, and the facts that they were drawn from.

A one-step generator melts, dents, merges and pales objects. An independent critic learns that these do not count from
scenes in which they were drawn so, without asking the exact judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gensearch.shapes import drawing, world
from gensearch.shapes.judge import pixels
from gensearch.shapes.train.judges.clip import blob, degrade, ring_points
from gensearch.shapes.train.judges.labels import of_scenes, part
from gensearch.shapes.train.judges.scenes import disturbed

SPOILT = 0.35  # share of objects that are malformed
Color = tuple[int, int, int]


def corners(thing: world.Thing) -> np.ndarray:
    """Return the outline of an object, [72, 2] in pixels."""
    return np.asarray(ring_points(drawing.outline(thing.shape)) * thing.radius + np.array([thing.x, thing.y]))


def dented(rng: np.random.Generator, thing: world.Thing, ground: Color) -> list[drawing.Polygon]:
    """Return an object whose outline waves by a quarter to a half of its radius."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(np.sin(k * angle + rng.uniform(0, 2 * np.pi)) for k in rng.choice(np.arange(1, 6), 3, replace=False))
    centre = np.array([thing.x, thing.y])
    scale = 1 + rng.uniform(0.25, 0.5) * np.asarray(waves)[:, None] / 1.5
    return [((centre + (corners(thing) - centre) * scale).tolist(), world.COLORS[thing.color])]


def bitten(rng: np.random.Generator, thing: world.Thing, ground: Color) -> list[drawing.Polygon]:
    """Return an object of which a straight cut has taken a third or more."""
    turn = rng.uniform(0, 2 * np.pi)
    normal, centre = np.array([np.cos(turn), np.sin(turn)]), np.array([thing.x, thing.y])
    offset = corners(thing) - centre
    over = np.maximum(offset @ normal - thing.radius * rng.uniform(-0.3, 0.3), 0)
    return [((centre + offset - over[:, None] * normal).tolist(), world.COLORS[thing.color])]


def merged(rng: np.random.Generator, thing: world.Thing, ground: Color) -> list[drawing.Polygon]:
    """Return an object that has grown together with a second one of the same colour."""
    other = replace(thing, shape=str(rng.choice(world.SHAPES)), radius=thing.radius * rng.uniform(0.6, 1))
    turn = rng.uniform(0, 2 * np.pi)
    step = thing.radius * rng.uniform(0.6, 1.2) * np.array([np.cos(turn), np.sin(turn)])
    color = world.COLORS[thing.color]
    return [(corners(thing).tolist(), color), ((corners(other) + step).tolist(), color)]


def pale(rng: np.random.Generator, thing: world.Thing, ground: Color) -> list[drawing.Polygon]:
    """Return an object that is more background than colour."""
    share = rng.uniform(0.15, 0.45)
    faded = share * np.array(world.COLORS[thing.color]) + (1 - share) * np.array(ground)
    red, green, blue = (int(c) for c in faded)
    return [(corners(thing).tolist(), (red, green, blue))]


def mixed(rng: np.random.Generator, thing: world.Thing, ground: Color) -> list[drawing.Polygon]:
    """Return a mixture of two shapes, or one of two colours."""
    return blob(rng, thing)


KINDS: tuple[Callable[[np.random.Generator, world.Thing, Color], list[drawing.Polygon]], ...]
KINDS = (dented, bitten, merged, pale, mixed, mixed)


class Drawn(NamedTuple):
    """A scene as it is drawn.

    Attributes:
        things: its well-formed objects.
        scene: the same with its background.
        extra: polygons of the malformed ones.
    """

    things: tuple[world.Thing, ...]
    scene: world.Scene
    extra: list[drawing.Polygon]

    def picture(self) -> Tensor:
        """Return the rendered picture, [3, 64, 64] in [0, 1]."""
        image = np.asarray(world.render(self.scene, extra=self.extra))
        return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)


def draw(rng: np.random.Generator) -> Drawn:
    """Draw a scene of which some objects are malformed."""
    _, scene = world.sample(rng)
    spoil = (rng.random(len(scene.things)) < SPOILT).tolist()
    things = tuple(thing for thing, out in zip(scene.things, spoil, strict=True) if not out)
    extra: list[drawing.Polygon] = []
    for thing in (thing for thing, out in zip(scene.things, spoil, strict=True) if out):
        extra += KINDS[int(rng.integers(len(KINDS)))](rng, thing, scene.background)
    return Drawn(things, replace(scene, things=things), extra)


def run(rng: np.random.Generator, drawn: Drawn) -> tuple[Drawn, Drawn, Tensor]:
    """Let the colour of one object run into a second one across it.

    Returns:
        The scene with that object of no colour, the scene in the second colour, and its share in each pixel [64, 64].
    """
    i = int(rng.integers(len(drawn.things)))
    thing = drawn.things[i]
    second = str(rng.choice([color for color in world.COLORS if color != thing.color]))
    turned = tuple(replace(t, color=second) if j == i else t for j, t in enumerate(drawn.things))
    turn, grid = rng.uniform(0, 2 * np.pi), torch.arange(world.SIZE) + 0.5
    across = (grid[None] - thing.x) * np.cos(turn) + (grid[:, None] - thing.y) * np.sin(turn)
    share = torch.sigmoid(across * 4 / thing.radius).float()
    nameless = tuple(replace(t, color="") if j == i else t for j, t in enumerate(drawn.things))
    return Drawn(nameless, drawn.scene, drawn.extra), drawn._replace(scene=replace(drawn.scene, things=turned)), share


def other(rng: np.random.Generator, drawn: Drawn) -> tuple[Drawn, Drawn, Tensor]:
    """Return a scene, and beside it another one whose ghost shows faintly, or whose colour runs into it."""
    if drawn.things and rng.random() < 0.5:
        return run(rng, drawn)
    return drawn, draw(rng), torch.full((world.SIZE,) * 2, rng.uniform(0, 0.3) * (rng.random() < 0.6))


@torch.no_grad()
def make_part(vae: Any, number: int, size: int) -> dict[str, Tensor]:
    """Draw one part: a quarter of its pictures blurred, the others mixed and disturbed in the autoencoder's latents.

    Args:
        vae: of the embedded image models.
        number: of the part, from which everything random comes.
        size: pictures, a multiple of 4.

    Returns:
        Pictures uint8 [n, 3, 64, 64] and their table.
    """
    rng, generator = np.random.default_rng((43, number)), torch.Generator().manual_seed(43_000_003 + number)
    plain = [draw(rng) for _ in range(size // 4)]
    pairs = [other(rng, draw(rng)) for _ in range(size - size // 4)]
    soft = degrade(torch.stack([drawn.picture() for drawn in plain]), generator)
    first = torch.stack([one.picture() for one, _, _ in pairs])
    second = torch.stack([two.picture() for _, two, _ in pairs])
    share = torch.stack([share for _, _, share in pairs])[:, None]
    media = torch.cat([soft, blended(vae, first, second, share, generator)])
    scenes = [drawn.things for drawn in (*plain, *(pair[0] for pair in pairs))]
    return part([pixels(picture) for picture in media], of_scenes(scenes))


def blended(vae: Any, x: Tensor, other: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures in [0, 1] whose latents are a mixture of two pictures' and noise.

    Args:
        vae: of the embedded image models.
        x: pictures [b, 3, h, w] in [0, 1].
        other: the same.
        share: of the others, [b, 1, h, w] in [0, 1].
        generator: of the noise.
    """
    one, two = (vae.encode(2 * picture - 1).latent_dist.mode() for picture in (x, other))
    return disturbed(vae, one + interpolate(share, one.shape[-2:], mode="area") * (two - one), generator)
