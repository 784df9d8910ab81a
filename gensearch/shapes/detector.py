"""A classical detector for the Shapes world: segmentation by colour, and template matching with the eight shapes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from gensearch.shapes import drawing
from verifiers.detect.geneval import Detection

PALETTE = np.array(list(drawing.COLORS.values()), np.float32)

# The score is the product of three ramps, each from 0 at the first end to 1 at the second. They were tuned on renders
# after an autoencoder (all but the most blurred stars keep a score of 1) and on erased, merged, stretched and blended
# ones (which score 0). The ramp of the outline was then widened to agree with labelled objects of generated pictures.
ERROR_RAMP = (0.048, 0.036)  # 1 - soft IoU with the best shape, divided by the relative length of its outline
CIRCLE_ERROR = 2.2  # factor of the error of a circle: most blobs have a high IoU with a disc, also with corners
MARGIN_RAMP = (0.03, 0.07)  # lead in soft IoU over the second-best shape
PALE_RAMP = (0.38, 0.28)  # distance to the nearest colour, as a share of that plus the distance to the background
DOUBT = 0.38  # distance to the nearest colour, as a share of nearest plus second nearest, from which it has no name

AREA_SHARE = (0.008, 0.35)  # of the picture: smaller blobs have no readable shape, larger ones are background
COLOR_SHARE = 0.2  # of a blob: a smaller share of one colour is a fringe, a larger one a part of its own
COVERED = 0.6  # cover from which a pixel belongs to a blob; above 0.5, so that faint bridges do not join two objects
PIXEL_TOLERANCE = 75.0  # RGB distance of a pixel from the mixtures of background and colour
REACH = 2  # pixels around a blob where soft edges and faint tips still belong to it

EXTENT = 1.4  # half-width of a template, in radii
GRID = 256  # pixels along one side of a template
ROUNDING = 0.16  # radii by which corners of the second set of templates are smoothed, as an autoencoder does


class Templates(NamedTuple):
    """All shapes at radius 1: the eight with sharp corners, then the same with rounded corners.

    Attributes:
        distance: signed distance to the outline in radii, inside negative, [16, 256, 256] over [-1.4, 1.4]^2.
        area: in square radii, [16].
        centre: centroid (x, y) in radii, [16, 2].
        outline: length of the outline divided by the square root of the area, of the sharp ones, [8].
    """

    distance: np.ndarray
    area: np.ndarray
    centre: np.ndarray
    outline: np.ndarray


@cache
def templates() -> Templates:
    """Return the templates, computed once."""
    unit = GRID / (2 * EXTENT)
    crisp = [silhouette(shape) for shape in drawing.SHAPES]
    rounded = [ndimage.gaussian_filter(inside.astype(np.float32), ROUNDING * unit) > 0.5 for inside in crisp]
    masks = np.array(crisp + rounded)
    signed = [ndimage.distance_transform_edt(~m) - ndimage.distance_transform_edt(m) for m in masks]
    distance = np.array(signed, np.float32) / np.float32(unit)
    area = masks.sum((1, 2)) / unit**2
    centre = np.array([ndimage.center_of_mass(m)[::-1] for m in masks])
    length = (np.abs(distance) < 0.05).sum((1, 2)) / unit**2 / 0.1  # area of a band around the outline / its width
    return Templates(distance, area, (centre + 0.5) / unit - EXTENT, (length / np.sqrt(area))[: len(crisp)])


def silhouette(shape: str) -> np.ndarray:
    """Return the mask of a shape of radius 1, bool [256, 256] over [-1.4, 1.4]^2."""
    image = Image.new("1", (GRID, GRID))
    layers = [(shape, 1.0, 1)] + [("circle", drawing.RING_HOLE, 0)] * (shape == "ring")
    for name, radius, fill in layers:
        points = (np.array(drawing.outline(name)) * radius + EXTENT) * GRID / (2 * EXTENT) - 0.5
        ImageDraw.Draw(image).polygon([tuple(point) for point in points.tolist()], fill=fill)
    return np.asarray(image)


def ramp(value: float, ends: tuple[float, float]) -> float:
    """Return 0 at the first end, 1 at the second, linear between and constant beyond."""
    return float(np.clip((value - ends[0]) / (ends[1] - ends[0]), 0, 1))


def border(image: np.ndarray) -> np.ndarray:
    """Return the background colour [3]: the median of the two outermost rows and columns."""
    frame = np.ones(image.shape[:2], bool)
    frame[2:-2, 2:-2] = False
    return np.asarray(np.median(image[frame], axis=0))


def cover(image: np.ndarray, background: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best mixture of a colour and the background for each pixel.

    Args:
        image: [h, w, 3].
        background: colour [3].
        colors: [n, 3].

    Returns:
        The share of the colour in [0, 1] and the RGB distance of pixel and mixture, [n, h, w] each.
    """
    offset = (image - background).reshape(-1, 3)
    span = colors - background
    length = np.square(span).sum(1, keepdims=True).clip(1)  # a colour that equals the background covers nothing
    along = span @ offset.T
    share = (along / length).clip(0, 1)
    misfit = np.square(offset).sum(1) + share * (share * length - 2 * along)
    shape = (len(colors), *image.shape[:2])
    return share.reshape(shape), np.sqrt(misfit.clip(0)).reshape(shape)


def overlaps(soft: np.ndarray) -> np.ndarray:
    """Return the soft IoU [8] of a cover [h, w] with every shape at equal area and centroid, sharp or rounded."""
    shapes = templates()
    rows, columns = (np.arange(n, dtype=np.float32) for n in soft.shape)
    mass = soft.sum()
    if not mass:  # a region of the ground's own colour
        return np.zeros(len(drawing.SHAPES))
    x, y = soft.sum(0) @ columns / mass, soft.sum(1) @ rows / mass
    radius = np.sqrt(mass / shapes.area)[:, None]
    unit = GRID / (2 * EXTENT)
    u = (((columns - x) / radius + shapes.centre[:, :1] + EXTENT) * unit).astype(int).clip(0, GRID - 1)
    v = (((rows - y) / radius + shapes.centre[:, 1:] + EXTENT) * unit).astype(int).clip(0, GRID - 1)
    pick = np.arange(len(radius))[:, None, None], v[:, :, None], u[:, None, :]
    drawn = sharpen(0.5 - shapes.distance[pick] * radius[..., None].astype(np.float32))
    both = np.minimum(drawn, soft).sum((1, 2))
    return np.asarray((both / (mass + drawn.sum((1, 2)) - both)).reshape(2, -1).max(0))


def sharpen(share: np.ndarray) -> np.ndarray:
    """Double the contrast around one half, so that soft and sharp edges can be compared."""
    return (2 * share - 0.5).clip(0, 1)


def name_color(color: np.ndarray) -> str | None:
    """Return the name of a colour [3] in the palette; None if it is between two of them."""
    distance = np.linalg.norm(PALETTE - color, axis=1)
    first, second = np.argsort(distance)[:2]
    certain = distance[first] < DOUBT * (distance[first] + distance[second])
    return list(drawing.COLORS)[first] if certain else None


class ShapesDetector:
    """A detector of shapes on a light background; its scores agree with how clearly people name a shape.

    Clean objects score 1. Objects that are merged, half erased, distorted, pale or of several colours score near 0. A
    well-formed object of one colour between those of the palette has `color` None.
    """

    def detect(self, image: np.ndarray) -> dict[str, list[Detection]]:
        """Return class name -> objects, each with box, score, mask and colour name.

        Args:
            image: uint8 [h, w, 3], RGB.
        """
        pixels = image.astype(np.float32)
        background = border(pixels)
        share, misfit = cover(pixels, background, PALETTE)
        solid = np.take_along_axis(share, misfit.argmin(0)[None], 0)[0] > COVERED
        found: dict[str, list[Detection]] = {shape: [] for shape in drawing.SHAPES}
        labels, count = ndimage.label(solid)
        for blob in (labels == label for label in range(1, count + 1)):
            if not sized(blob):
                continue
            whole = [describe(pixels, background, blob, solid)]
            objects = whole
            if whole[0][1].score < 1:  # not a clear shape of one colour: maybe several objects that touch
                parts = [describe(pixels, background, mask, solid) for mask in split(blob, share, misfit)]
                objects = max(whole, parts, key=lambda group: max((d.score for _, d in group), default=-1.0))
            for shape, detection in objects:
                found[shape].append(detection)
        return found


def sized(mask: np.ndarray) -> bool:
    """Return whether a region is large enough to have a shape and small enough to be an object."""
    return bool(AREA_SHARE[0] < mask.mean() < AREA_SHARE[1])


def split(blob: np.ndarray, share: np.ndarray, misfit: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of a region that each have one colour of the palette, without fringes.

    Args:
        blob: the region, bool [h, w].
        share: of `cover`.
        misfit: of `cover`.
    """
    counts = np.bincount(misfit.argmin(0)[blob], minlength=len(PALETTE))
    colors = np.flatnonzero(counts > COLOR_SHARE * counts.sum())
    if not len(colors):  # five or more colours of equal share: none of them is a part
        return
    owner = colors[misfit[colors].argmin(0)]
    for index in colors:
        own = blob & (owner == index) & (share[index] > COVERED) & (misfit[index] < PIXEL_TOLERANCE)
        parts, count = ndimage.label(own)
        yield from filter(sized, (parts == part for part in range(1, count + 1)))


def describe(pixels: np.ndarray, background: np.ndarray, mask: np.ndarray, solid: np.ndarray) -> tuple[str, Detection]:
    """Classify shape and colour of one region.

    Args:
        pixels: the picture, fp32 [h, w, 3].
        background: colour [3].
        mask: of the region, bool [h, w].
        solid: of all regions, bool [h, w]; the others are left out.
    """
    left, top, right, bottom = box(mask)
    rim = REACH + 1
    window = slice(max(top - rim, 0), bottom + rim), slice(max(left - rim, 0), right + rim)
    inside = pixels[mask]
    contrast = np.linalg.norm(inside - background, axis=1)
    color = np.median(inside[contrast >= np.median(contrast)], axis=0)  # without the soft edge
    share, misfit = cover(pixels[window], background, color[None])
    near = ndimage.binary_dilation(mask[window], np.ones((3, 3)), iterations=REACH) & (mask | ~solid)[window]
    ious = overlaps(np.pad(sharpen(share[0] * near * (misfit[0] < PIXEL_TOLERANCE)), rim))
    second, best = np.argsort(ious)[-2:]
    distance = np.linalg.norm(PALETTE - color, axis=1).min()
    name = drawing.SHAPES[best]
    error = (1 - ious[best]) / templates().outline[best] * (CIRCLE_ERROR if name == "circle" else 1)
    score = (
        ramp(error, ERROR_RAMP)
        * ramp(ious[best] - ious[second], MARGIN_RAMP)
        * ramp(distance / (distance + np.linalg.norm(background - color)), PALE_RAMP)
    )
    return name, Detection((left, top, right, bottom), score, mask, name_color(color))


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a mask, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
