from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from gensearch.shapes import world


def test_every_shape_and_colour_loses_two_partners_and_every_class_two_neighbours():
    assert len(world.HELD_OUT_PAIRS) == 16
    assert set(Counter(shape for shape, _ in world.HELD_OUT_PAIRS).values()) == {2}
    assert set(Counter(color for _, color in world.HELD_OUT_PAIRS).values()) == {2}
    assert len(world.HELD_OUT_CLASSES) == 8
    assert set(Counter(shape for pair in world.HELD_OUT_CLASSES for shape in pair).values()) == {2}


@pytest.mark.parametrize("tag", world.TRAIN_MIX)
def test_training_never_shows_or_names_what_is_held_out(tag):
    rng = np.random.default_rng(3)
    for line, scene in (world.sample(rng, tag) for _ in range(300)):
        shown = {(thing.shape, thing.color) for thing in scene.things}
        assert not shown & world.HELD_OUT_PAIRS
        assert not {frozenset(p) for p in combinations({s for s, _ in shown}, 2)} & world.HELD_OUT_CLASSES
        assert not world.asks_held_out(line)


def test_the_benchmark_asks_for_nothing_but_held_out_combinations():
    lines = world.benchmark()
    assert len(lines) >= 150
    assert len({line["prompt"] for line in lines}) == len(lines)
    combined = [line for line in lines if line["tag"] not in ("single_object", "counting")]
    assert all(world.asks_held_out(line) for line in combined)
    assert list(dict.fromkeys(line["tag"] for line in lines)) == list(world.TAGS)


def test_prompts_follow_genevals_phrasing_and_schema():
    clause = world.clause
    assert world.spec("color_attr", [clause("star", "orange"), clause("ring", "blue")]) == {
        "tag": "color_attr",
        "include": [{"class": "star", "count": 1, "color": "orange"}, {"class": "ring", "count": 1, "color": "blue"}],
        "prompt": "a photo of an orange star and a blue ring",
    }
    assert world.spec("counting", [clause("cross", count=3)]) == {
        "tag": "counting",
        "include": [{"class": "cross", "count": 3}],
        "exclude": [{"class": "cross", "count": 4}],
        "prompt": "a photo of three crosses",
    }
    line = world.spec("position", [clause("heart"), clause("square", position=("above", 0))])
    assert line["prompt"] == "a photo of a square above a heart"


def test_scenes_hold_what_the_prompt_asks_for_and_things_keep_apart():
    rng = np.random.default_rng(8)
    for line, scene in (world.sample(rng) for _ in range(400)):
        asked = Counter(c["class"] for c in line["include"] for _ in range(c["count"]))
        assert Counter(thing.shape for thing in scene.things) == asked
        for a, b in combinations(scene.things, 2):
            assert max(abs(a.x - b.x), abs(a.y - b.y)) >= a.radius + b.radius + 2
        for thing in scene.things:
            assert min(thing.x, thing.y, 64 - thing.x, 64 - thing.y) >= thing.radius


def test_a_render_shows_colour_inside_and_background_outside():
    scene = world.Scene(
        (world.Thing("ring", "blue", 20, 30, 10), world.Thing("square", "red", 48, 40, 9)), (240, 236, 238)
    )
    pixels = np.asarray(world.render(scene))
    assert pixels.shape == (64, 64, 3)
    assert tuple(pixels[40, 48]) == world.COLORS["red"]
    assert tuple(pixels[30, 20]) == scene.background  # the hole
    assert tuple(pixels[30, 13]) == world.COLORS["blue"]
    assert tuple(pixels[2, 2]) == scene.background


def test_the_same_seed_draws_the_same_scene():
    first, second = (world.sample(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first != world.sample(np.random.default_rng(6))
