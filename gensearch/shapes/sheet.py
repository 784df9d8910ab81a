"""Contact sheets of pictures with their detections, for labelling and debugging."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector

ZOOM = 4
LEGEND = 60  # pixels below each picture


def sheet(pictures: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 5) -> Image.Image:
    """Draw enlarged pictures with all detections as boxes, listed by number, colour, class and score.

    Boxes of detections above GenEval's threshold of 0.3 are green, the others red.

    Args:
        pictures: uint8 [h, w, 3] each, all of one size.
        titles: none, or one per picture.
        columns: pictures in one row.
    """
    tiles = [tile(picture, title) for picture, title in zip(pictures, titles or [""] * len(pictures), strict=True)]
    width, height = tiles[0].size
    page = Image.new("RGB", (columns * (width + 4), -(-len(tiles) // columns) * (height + 4)), "gray")
    for i, drawn in enumerate(tiles):
        page.paste(drawn, (i % columns * (width + 4), i // columns * (height + 4)))
    return page


def tile(picture: np.ndarray, title: str) -> Image.Image:
    """Draw one picture with its detections and their legend.

    Args:
        picture: uint8 [h, w, 3].
        title: first line of the legend, may be empty.
    """
    height, width = picture.shape[:2]
    page = Image.new("RGB", (width * ZOOM, height * ZOOM + LEGEND), "white")
    page.paste(Image.fromarray(picture).resize((width * ZOOM, height * ZOOM), Image.Resampling.NEAREST))
    draw = ImageDraw.Draw(page)
    found = ShapesDetector().detect(picture)
    rows = [title] if title else []
    for number, (shape, d) in enumerate(((s, d) for s in world.SHAPES for d in found[s]), 1):
        left, top, right, bottom = (ZOOM * side for side in d.box)
        draw.rectangle((left, top, right - 1, bottom - 1), outline="green" if d.score > 0.3 else "red")
        draw.text((left + 2, top), str(number), fill="black")
        rows.append(f"{number} {d.color or 'mixed'} {shape} {d.score:.2f}")
    draw.multiline_text((2, height * ZOOM + 1), "\n".join(rows), fill="black", font_size=9, spacing=1)
    return page
