"""What a picture of the Shapes world shows, as a table that a critic learns from: counts, colours and relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gensearch.shapes import world
from gensearch.shapes.train.judges.matches import COLOR, RELATION, SHAPE, related
from verifiers.detect.geneval import Detection, keep, relations

MOST = 5  # objects of one shape that are counted one by one
MIXED = len(world.COLORS)  # no colour of the palette, or several colours
ABSENT = -1  # no label: there is no object of the shape
OBJECTS = 8  # of one picture that are kept with their boxes


class Table(NamedTuple):
    """The answers for n pictures.

    Attributes:
        some: objects of each shape that count in all tags but `counting`, uint8 [n, 8], at most `MOST`.
        sure: objects that count in the tag `counting`, uint8 [n, 8], at most `MOST`.
        color: of the most certain object of each shape, int8 [n, 8]; `MIXED`, or `ABSENT`.
        every: the colour that all objects of a shape have, int8 [n, 8]; `MIXED`, or `ABSENT`.
        relation: of the most certain objects of two shapes, bool [n, 8, 8, 4]; false where one is absent.
        objects: box (x1, y1, x2, y2) in pixels, certainty in [0, 1], shape and colour (`ABSENT` for none) of the most
            certain objects, float32 [n, 8, 7]; an empty box where there are fewer.
    """

    some: np.ndarray
    sure: np.ndarray
    color: np.ndarray
    every: np.ndarray
    relation: np.ndarray
    objects: np.ndarray


def blank(n: int) -> Table:
    """Return the table of n empty pictures."""
    counts, colors = np.zeros((2, n, 8), np.uint8), np.full((2, n, 8), ABSENT, np.int8)
    objects = np.zeros((n, OBJECTS, 7), np.float32)
    return Table(counts[0], counts[1], colors[0], colors[1], np.zeros((n, 8, 8, 4), bool), objects)


def joined(tables: Sequence[Table]) -> Table:
    """Return one table of all pictures."""
    return Table(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))


def part(pictures: Sequence[np.ndarray], table: Table) -> dict[str, Tensor]:
    """Return pictures uint8 [h, w, 3] as tensors: `media` [n, 3, h, w], with the columns of their table."""
    media = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return {"media": media.contiguous()} | {name: torch.from_numpy(v) for name, v in table._asdict().items()}


def of_detections(found: Sequence[Mapping[str, Sequence[Detection]]]) -> Table:
    """Label pictures by what the classical detector found in them, with GenEval's thresholds.

    Args:
        found: unfiltered detections of each picture.
    """
    table = blank(len(found))
    for row, detections in enumerate(found):
        place(table, row, [(d.box, d.score, shape, d.color) for shape, group in detections.items() for d in group])
        some, sure = keep(detections, "position"), keep(detections, "counting")
        for shape, i in SHAPE.items():
            group = some.get(shape, [])
            table.some[row, i] = min(len(group), MOST)
            table.sure[row, i] = min(len(sure.get(shape, [])), MOST)
            name_colors(table, row, i, [d.color for d in group])
            for other, j in SHAPE.items():
                if i != j and group and some.get(other):
                    for relation in relations(group[0].box, some[other][0].box):
                        table.relation[row, i, j, RELATION[relation]] = True
    return table


def of_scenes(scenes: Sequence[Sequence[world.Thing]]) -> Table:
    """Label rendered scenes by the objects that they were drawn from; no detector is asked.

    Relations are given for shapes that occur once.

    Args:
        scenes: the well-formed objects of each; an empty text is no colour of the palette.
    """
    table = blank(len(scenes))
    for row, things in enumerate(scenes):
        place(table, row, [(bounds(thing), 1.0, thing.shape, thing.color or None) for thing in things])
        for shape, i in SHAPE.items():
            group = [thing for thing in things if thing.shape == shape]
            table.some[row, i] = table.sure[row, i] = min(len(group), MOST)
            name_colors(table, row, i, [thing.color or None for thing in group])
            for thing in things:
                if len(group) == 1 and thing.shape != shape:
                    table.relation[row, i, SHAPE[thing.shape]] = related(group[0], thing)
    return table


def place(table: Table, row: int, objects: Sequence[tuple[Sequence[float], float, str, str | None]]) -> None:
    """Enter the most certain objects of one picture, each as box, certainty, shape and colour."""
    first = sorted(objects, key=lambda found: -found[1])[:OBJECTS]
    for i, (box, sure, shape, color) in enumerate(first):
        table.objects[row, i] = (*box, sure, SHAPE[shape], ABSENT if color is None else COLOR[color])


def bounds(thing: world.Thing) -> tuple[float, float, float, float]:
    """Return the square around an object's circle, (x1, y1, x2, y2) in pixels."""
    x, y, radius = thing.x, thing.y, thing.radius
    return x - radius, y - radius, x + radius, y + radius


def name_colors(table: Table, row: int, i: int, colors: Sequence[str | None]) -> None:
    """Enter the colours of all objects of one shape, the most certain object first."""
    if colors:
        numbers = [MIXED if color is None else COLOR[color] for color in colors]
        table.color[row, i] = numbers[0]
        table.every[row, i] = numbers[0] if len(set(numbers)) == 1 else MIXED


def held_out(found: Mapping[str, Sequence[Detection]]) -> bool:
    """Return whether a picture shows a held-out pair of colour and shape, or of two classes."""
    shown = keep(found, "position")
    return world.is_held_out(tuple((shape, d.color or "") for shape, group in shown.items() for d in group))
