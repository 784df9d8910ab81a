"""T2I-CompBench's rules against values of the authors' code, sums by hand and changes that may not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.detect.compbench import (
    DEPTHS,
    LOCALITIES,
    blend,
    counts,
    in_depth,
    numeracy,
    overlap,
    pair,
    position,
    relation,
    scale,
    without_duplicates,
)
from verifiers.detect.geneval import Detection

LEFT, RIGHT, BOTTOM, TOP = LOCALITIES[3:7]
HALVES = np.full((480, 480), 26, np.uint8)  # .1 of 255
HALVES[:240] = 230  # .9
EDGES = st.integers(0, 400)
BOXES = st.builds(lambda x, y, w, h: (x, y, x + w + 1, y + h + 1), EDGES, EDGES, EDGES, EDGES)


@pytest.mark.parametrize(
    ("words", "a", "b", "wanted"),
    [
        (LEFT, (0, 100, 100, 200), (200, 100, 300, 200), 1),
        (LEFT, (200, 100, 300, 200), (0, 100, 100, 200), 0),
        (LEFT, (0, 0, 100, 100), (50, 0, 150, 100), 0.3),
        (LEFT, (0, 0, 100, 100), (110, 200, 210, 300), 0),  # further down than to the side
        (RIGHT, (200, 100, 300, 200), (0, 100, 100, 200), 1),
        (TOP, (100, 0, 200, 100), (100, 300, 200, 400), 1),
        (BOTTOM, (100, 300, 200, 400), (100, 0, 200, 100), 1),
        (TOP, (0, 0, 100, 100), (0, 90, 100, 190), 1),  # overlap 10 of 190, below 0.1
        (TOP, (0, 0, 100, 100), (0, 80, 100, 180), 0.1 / (20 / 180)),
        ("next to", (0, 0, 100, 100), (300, 300, 400, 400), 0.5),
        ("next to", (0, 0, 100, 100), (400, 0, 500, 100), 1),
        ("near", (0, 0, 100, 100), (200, 450, 300, 550), 150 / 450),
        ("on side of", (0, 0, 100, 100), (149, 450, 249, 550), 1),
        ("beyond", (0, 0, 100, 100), (200, 0, 300, 100), 0),
    ],
)
def test_places(words, a, b, wanted):
    assert position(words, a, b) == pytest.approx(wanted)


def test_on_top_of_is_never_true_upstream_and_mended():
    above = (100, 0, 200, 100), (100, 300, 200, 400)
    assert position("on top of", *above) == 0
    assert position("on top of", *above, upstream=False) == 1
    assert position("on top of", *reversed(above), upstream=False) == 0


@given(BOXES, BOXES)
def test_mirrors_swap_directions_and_nothing_leaves_the_range(a, b):
    flipped, turned = (
        [(900 - x2, y1, 900 - x1, y2) for x1, y1, x2, y2 in (a, b)],
        [(x1, 900 - y2, x2, 900 - y1) for x1, y1, x2, y2 in (a, b)],
    )
    for words in LOCALITIES:
        assert 0 <= position(words, a, b, upstream=False) <= 1
    assert position(LEFT, a, b) == position(RIGHT, *flipped) == position(RIGHT, b, a)
    assert position(TOP, a, b) == position(BOTTOM, *turned) == position(BOTTOM, b, a)
    assert position("near", a, b) == position("near", b, a)
    assert sum(position(words, a, b) > 0 for words in (LEFT, RIGHT, BOTTOM, TOP)) <= 1


@pytest.mark.parametrize(
    ("first", "second", "held", "wanted"),
    [
        (0.9, 0.9, 1, 0.95),
        (0.99, 0.99, 0, 0),
        (0.5, 0.5, 1, 0.75),
        (0.6, 0.6, 0.3, 0),
        (1, 1, 0, 0.5),
        (1, 1, 0.3, 0.65),
    ],
)
def test_blends(first, second, held, wanted):
    assert blend(first, second, held) == pytest.approx(wanted)


def test_one_object_alone_has_a_quarter_and_is_cut():
    assert blend(0.8, None, 1, cut=False) == blend(None, 0.8, 1, cut=False) == pytest.approx(0.2)
    assert blend(0.8, None, 1) == blend(None, None, 1) == blend(None, None, 1, cut=False) == 0


def test_a_depth_map_is_read_by_rows_or_as_upstream_by_columns():
    a, b = (100, 0, 300, 400), (150, 0, 350, 400)  # the same rows: equally near
    assert in_depth("in front of", a, b, HALVES, upstream=True) == 1
    assert in_depth("in front of", a, b, HALVES, upstream=False) == 0


@pytest.mark.parametrize("upstream", [True, False])
def test_depth_by_overlap(upstream):
    depth = np.zeros((200, 200), np.uint8)
    depth[:100, :100] = 200
    near, far = (0, 0, 90, 90), (60, 60, 150, 150)
    union = 900 / (2 * 8100 - 900)
    for words, a, b in (("in front of", near, far), ("behind", far, near), ("hidden by", far, near)):
        assert in_depth(words, a, b, depth, upstream=upstream) == pytest.approx(union / 0.5)
        assert in_depth(words, b, a, depth, upstream=upstream) == 0
    apart = (120, 120, 180, 180)
    assert in_depth("in front of", near, apart, depth, upstream=upstream) == 0  # no overlap at all
    assert in_depth("in front of", (0, 0, 100, 50), (0, 0, 100, 100), depth, upstream=upstream) == 0  # overlap is 0.5
    assert in_depth("in front of", (0, 0, 100, 80), (0, 0, 100, 110), depth, upstream=upstream) == 1
    assert in_depth("near", near, far, depth, upstream=upstream) == 0


def test_duplicates_count_their_edges():
    def kept(*boxes):
        return [d.box for d in without_duplicates([Detection(box, 0.9 - i / 10) for i, box in enumerate(boxes)])]

    one = (0, 0, 100, 100)
    assert kept(one, (0, 0, 95, 100)) == [one]
    assert kept(one, (50, 0, 150, 100)) == [one, (50, 0, 150, 100)]
    assert kept(one, (10, 10, 30, 30)) == [one]  # inside
    assert kept((10, 10, 30, 30), one) == [(10, 10, 30, 30)]  # around a more certain one
    assert overlap((0, 0, 9, 9), (0, 0, 8, 9), edge=1)[0] == pytest.approx(0.9)
    assert kept((0, 0, 9, 9), (0, 0, 8, 9)) == [(0, 0, 9, 9)], "inside another one"
    assert without_duplicates([Detection((0, 0, 9, 9), 0.1), Detection((0, 0, 9, 8), 0.2)])[0].score == 0.2


def test_the_most_certain_objects_are_paired():
    cats = [Detection((0, 0, 1, 1), 0.2), Detection((5, 5, 9, 9), 0.7)]
    asked = relation("a cat hidden by a cat", DEPTHS)
    assert pair({"cat": cats}, asked) == (cats[1], cats[1])
    assert pair({"cat": cats}, asked, upstream=False) == (cats[1], cats[0])
    assert pair({"cat": cats[:1]}, asked, upstream=False) == (cats[0], None)
    assert pair({"dog": cats}, asked) == (None, None)


@pytest.mark.parametrize(
    ("prompt", "known", "wanted"),
    [
        ("a girl on the left of a sofa", LOCALITIES, ("person", LEFT, "sofa")),
        ("a horse on side of a bicycle", LOCALITIES, ("horse", "on side of", "bicycle")),
        ("The red hat was on top of the brown coat rack.", LOCALITIES, ("hat", "on top of", "rack")),
        ("a dog hidden by a man", DEPTHS, ("dog", "hidden by", "person")),
        ("The bumpy sphere hung in mid-air near the spiky star and the heart.", LOCALITIES, ("sphere", "near", "star")),
        ("the sun sank below the horizon", LOCALITIES, ("sun", "", "horizon")),
    ],
)
def test_relations(prompt, known, wanted):
    assert relation(prompt, known) == wanted


def test_a_prompt_without_two_objects_is_refused():
    with pytest.raises(ValueError, match="'a lone dog' does not relate two objects"):
        relation("a lone dog")


def test_counts_and_their_points():
    plurals = {"dogs": "dog", "mice": "mouse", "girls": "girl", "women": "woman"}
    assert counts("two dogs and a mouse", plurals) == {"dog": 2, "mouse": 1}
    assert counts("three girls, one woman", plurals) == {"person": 4}
    assert numeracy({"dog": 2, "mouse": 1}, {"dog": 2, "mouse": 1}) == 1
    assert numeracy({"dog": 3, "mouse": 1}, {"dog": 2, "mouse": 1}) == 0.75
    assert numeracy({"dog": 3}, {"dog": 2, "mouse": 1}) == 0.25
    assert numeracy({}, {"dog": 2}) == 0
    with pytest.raises(ValueError, match="'some dogs' counts no known object"):
        counts("some dogs", plurals)


def test_pictures_are_scaled_to_about_480_pixels():
    assert scale(512, 512) == 479 / 512
    assert scale(100, 300) == scale(300, 100) == 480 / 300
