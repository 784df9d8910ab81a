from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector, ramp
from verifiers.detect.geneval import Detection, evaluate, keep

DETECTOR = ShapesDetector()
BACKGROUND = (238, 241, 236)
RENDERS = [48, pytest.param(150, marks=pytest.mark.slow)]  # per tag


def picture(*things: world.Thing) -> np.ndarray:
    return np.array(world.render(world.Scene(things, BACKGROUND)))


def objects(image: np.ndarray, threshold: float = 0.3) -> list[tuple[str, Detection]]:
    return [(shape, d) for shape, group in DETECTOR.detect(image).items() for d in group if d.score > threshold]


def named(image: np.ndarray, threshold: float = 0.3) -> list[tuple[str, str | None]]:
    return [(shape, d.color) for shape, d in objects(image, threshold)]


def fulfilled(tag: str, seed: int, renders: int) -> list[tuple[world.Spec, np.ndarray]]:
    """Training and held-out prompts in turn, each with a clean render."""
    rng = np.random.default_rng(seed)
    held_out = [line for line in world.benchmark() if line["tag"] == tag]
    pairs = []
    for i in range(renders):
        line, scene = world.sample(rng, tag)
        if i % 2:
            line = held_out[rng.integers(len(held_out))]
            scene = world.scene_for(line, rng)
        pairs.append((line, np.asarray(world.render(scene))))
    return pairs


def accepted(pairs: list[tuple[world.Spec, np.ndarray]]) -> int:
    return sum(evaluate(image, line, DETECTOR).correct for line, image in pairs)


@pytest.mark.parametrize("renders", RENDERS)
@pytest.mark.parametrize("tag", world.TAGS)
def test_clean_renders_are_judged_right_in_every_tag(tag, renders):
    assert accepted(fulfilled(tag, 1, renders)) >= 0.99 * renders  # all of 48


@pytest.mark.parametrize("renders", RENDERS)
@pytest.mark.parametrize("tag", world.TAGS)
def test_soft_noisy_and_tinted_renders_are_still_judged_right(tag, renders):
    rng = np.random.default_rng(2)
    disturbed = []
    for i, (line, image) in enumerate(fulfilled(tag, 3, renders)):
        soft = ndimage.gaussian_filter(image.astype(np.float32), (0.7, 0.7, 0))
        change = (soft, image + rng.normal(0, 6, image.shape), image + rng.integers(-8, 9, 3))[i % 3]
        disturbed.append((line, change.round().clip(0, 255).astype(np.uint8)))
    assert accepted(disturbed) >= 0.97 * renders  # 47 of 48


@pytest.mark.parametrize("shape", world.SHAPES)
@pytest.mark.parametrize("color", world.COLORS)
def test_every_shape_in_every_color_scores_above_95_percent(shape, color):
    found = objects(picture(world.Thing(shape, color, 30.3, 33.8, 8.7)))
    assert [(name, d.color) for name, d in found] == [(shape, color)]
    assert found[0][1].score > 0.95


def test_box_and_mask_are_those_of_the_drawn_square():
    ((_, d),) = objects(picture(world.Thing("square", "blue", 20, 40, 10)))
    assert np.allclose(d.box, (11.2, 31.2, 28.8, 48.8), atol=0.8)
    assert d.mask is not None
    rows, columns = np.nonzero(d.mask)
    assert d.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert d.mask.sum() == pytest.approx(17.6**2, rel=0.05)


def test_shifting_a_picture_shifts_its_detections_and_nothing_else():
    image = picture(world.Thing("heart", "red", 20, 20, 9), world.Thing("star", "black", 40, 25, 9))
    moved = np.roll(image, (11, 7), axis=(0, 1))
    before, after = objects(image), objects(moved)
    assert [(s, d.color) for s, d in after] == [("star", "black"), ("heart", "red")]
    assert {s: tuple(np.add(d.box, (7, 11, 7, 11))) for s, d in before} == {s: d.box for s, d in after}
    assert {s: d.score for s, d in before} == pytest.approx({s: d.score for s, d in after})


@pytest.mark.parametrize("gap", [2, 3])
def test_four_objects_two_pixels_apart_are_four(gap):
    radius = 9.0
    step = 2 * radius + gap
    things = [world.Thing("circle", "pink", 16 + step * (i % 2), 16 + step * (i // 2), radius) for i in range(4)]
    assert named(picture(*things), threshold=0.9) == [("circle", "pink")] * 4


def test_a_faint_bridge_does_not_join_two_objects():
    image = picture(world.Thing("circle", "blue", 20, 32, 9), world.Thing("circle", "blue", 41, 32, 9))
    image[31:33, 28:33] = (0.5 * np.array(BACKGROUND) + 0.5 * np.array(world.COLORS["blue"])).astype(np.uint8)
    assert named(image, threshold=0.9) == [("circle", "blue")] * 2


def test_touching_objects_of_different_colors_are_told_apart():
    image = picture(world.Thing("square", "red", 20, 32, 10), world.Thing("square", "green", 37.6, 32, 10))
    assert sorted(named(image)) == [("square", "green"), ("square", "red")]


@pytest.mark.parametrize("shape", world.SHAPES)
@pytest.mark.parametrize("half", ["left", "right", "top"])
def test_half_an_object_is_rejected(shape, half):
    image = picture(world.Thing(shape, "purple", 32, 32, 11))
    erased: Any = {"left": np.s_[:, :32], "right": np.s_[:, 32:], "top": np.s_[:32]}[half]
    image[erased] = BACKGROUND
    assert objects(image) == []


@pytest.mark.parametrize(
    ("a", "b"), [("circle", "circle"), ("star", "heart"), ("square", "triangle"), ("ring", "cross")]
)
def test_merged_objects_of_one_color_are_rejected(a, b):
    image = picture(world.Thing(a, "orange", 26, 32, 10), world.Thing(b, "orange", 37, 33, 10))
    assert objects(image) == []


@pytest.mark.parametrize("shape", world.SHAPES)
def test_an_object_of_two_colors_is_rejected(shape):
    image = picture(world.Thing(shape, "red", 32, 32, 11))
    image[:, 32:] = picture(world.Thing(shape, "blue", 32, 32, 11))[:, 32:]
    assert objects(image) == []


@pytest.mark.parametrize(("a", "b"), [("red", "green"), ("yellow", "orange"), ("blue", "purple"), ("pink", "black")])
def test_a_blend_of_two_colors_carries_neither_name(a, b):
    drawn = [picture(world.Thing("circle", color, 32, 32, 11)).astype(int) for color in (a, b)]
    colors = {color for _, color in named(((drawn[0] + drawn[1]) // 2).astype(np.uint8))}
    assert colors.isdisjoint({a, b})


@pytest.mark.parametrize("color", world.COLORS)
def test_a_ghost_is_rejected(color):
    solid = picture(world.Thing("circle", color, 32, 32, 11)).astype(np.float32)
    ghost = (np.array(BACKGROUND) + 0.5 * (solid - BACKGROUND)).astype(np.uint8)
    assert color not in [name for _, name in named(ghost)]
    assert named(ghost, threshold=0.9) == []


@pytest.mark.parametrize("shape", world.SHAPES)
def test_heavy_blur_never_counts(shape):
    image = picture(world.Thing(shape, "green", 32, 32, 9)).astype(np.float32)
    assert named(ndimage.gaussian_filter(image, (3.0, 3.0, 0)).astype(np.uint8), threshold=0.9) == []


def test_an_empty_picture_holds_every_class_with_no_object():
    assert DETECTOR.detect(np.full((64, 64, 3), 240, np.uint8)) == {shape: [] for shape in world.SHAPES}


def test_specks_and_scenery_are_no_objects():
    speck = picture(world.Thing("circle", "red", 32, 32, 2.0))
    scenery = picture(world.Thing("square", "red", 32, 32, 30.0))
    assert keep(DETECTOR.detect(speck), "colors")["circle"] == []
    assert objects(scenery) == []


def test_detection_works_at_other_sizes():
    scene = world.Scene((world.Thing("cross", "blue", 20, 20, 9), world.Thing("ring", "black", 44, 40, 10)), BACKGROUND)
    large = np.asarray(world.render(scene, size=160))
    assert sorted(named(large, threshold=0.9)) == [("cross", "blue"), ("ring", "black")]


@pytest.mark.parametrize(("value", "expected"), [(0.50, 0), (0.42, 0), (0.37, 0.5), (0.32, 1), (0.0, 1)])
def test_ramp_falls_where_its_first_end_is_the_larger(value, expected):
    assert ramp(value, (0.42, 0.32)) == pytest.approx(expected)
