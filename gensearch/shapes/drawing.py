"""Scenes of the Shapes world and their rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (44, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (245, 215, 30),
    "purple": (130, 50, 170),
    "orange": (250, 135, 20),
    "black": (25, 25, 28),
    "pink": (245, 130, 190),
}


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        shape: one of `SHAPES`.
        color: one of `COLORS`.
        x: of the centre, in pixels of the 64x64 picture.
        y: of the centre, down.
        radius: in pixels.
    """

    shape: str
    color: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """Objects on a light background.

    Attributes:
        things: the objects.
        background: RGB in [0, 255].
    """

    things: tuple[Thing, ...]
    background: tuple[int, int, int]


def outline(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a shape in the square [-1, 1]^2, y down; for a ring those of its outer circle.

    Args:
        shape: one of `SHAPES`.
    """
    if shape in ("circle", "ring"):
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        return [(float(np.cos(a)), float(np.sin(a))) for a in angles]
    if shape == "star":
        angles = -np.pi / 2 + np.arange(10) * np.pi / 5
        radii = np.where(np.arange(10) % 2 == 0, 1.08, 0.45)
        return [(float(r * np.cos(a)), float(r * np.sin(a)) + 0.06) for r, a in zip(radii, angles, strict=True)]
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        x = np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 15 - 0.12
        return list(zip(x.tolist(), y.tolist(), strict=True))
    if shape == "cross":
        a = 0.34
        return [
            (-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a),
            (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a),
        ]  # fmt: skip
    corners: dict[str, list[tuple[float, float]]] = {
        "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
        "triangle": [(0, -1), (1, 0.85), (-1, 0.85)],
        "diamond": [(0, -1), (0.68, 0), (0, 1), (-0.68, 0)],
    }
    return corners[shape]


RING_HOLE = 0.52  # inner radius of a ring as a share of the outer one


Polygon = tuple[list[tuple[float, float]], tuple[int, int, int]]  # corners in pixels of the 64x64 picture, colour


def render(scene: Scene, size: int = SIZE, antialias: int = 4, extra: Sequence[Polygon] = ()) -> Image.Image:
    """Render a scene and extra polygons as an RGB picture.

    Args:
        scene: what is drawn first.
        size: of the picture in pixels.
        antialias: factor of the size at which it is drawn.
        extra: polygons that are drawn last.
    """
    scale = size * antialias / SIZE
    image = Image.new("RGB", (size * antialias,) * 2, scene.background)
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        points = [
            ((thing.x + thing.radius * x) * scale, (thing.y + thing.radius * y) * scale)
            for x, y in outline(thing.shape)
        ]
        draw.polygon(points, fill=COLORS[thing.color])
        if thing.shape == "ring":
            hole = [
                ((thing.x + RING_HOLE * thing.radius * x) * scale, (thing.y + RING_HOLE * thing.radius * y) * scale)
                for x, y in outline("circle")
            ]
            draw.polygon(hole, fill=scene.background)
    for corners, color in extra:
        draw.polygon([(x * scale, y * scale) for x, y in corners], fill=color)
    return image.reduce(antialias)
