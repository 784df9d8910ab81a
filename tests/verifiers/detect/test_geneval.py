"""GenEval's rules: golden values, laws on random boxes, filtering edges, reasons."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from verifiers.detect.geneval import Detection, Rules, evaluate, keep, relations, verdict

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)
LEFT, RIGHT, ABOVE, BELOW = "left of", "right of", "above", "below"

GOLDEN = [
    ([0, 100, 100, 200], [300, 100, 400, 200], {LEFT}),
    ([100, 0, 200, 100], [100, 300, 200, 400], {ABOVE}),
    ([0, 0, 100, 100], [300, 300, 400, 400], {LEFT, ABOVE}),
    ([0, 0, 100, 100], [0, 0, 100, 100], set()),
    ([0, 0, 100, 100], [20, 0, 120, 100], set()),
    ([0, 0, 100, 100], [40, 0, 140, 100], set()),
    ([0, 0, 100, 100], [41, 0, 141, 100], {LEFT}),
    ([125, 150, 225, 250], [25, 0, 425, 400], set()),
    ([0, 0, 10, 10], [100, 173, 110, 183], {ABOVE}),
    ([0, 50, 100, 150], [200, 100, 300, 200], {LEFT}),
    # by hand: the margin of 0.1 * (30 + 70) shortens dx from 21 to 11, and 11/21 is just over one half
    ([0, 0, 30, 30], [1, -20, 71, 50], {LEFT}),
    ([0, 0, 30, 30], [0, -20, 70, 50], set()),
    # the whole offset sets the scale, not the shortened one: dx 60 -> 40, dy 60 -> 40, 40/84.9 is under one half
    ([0, 0, 100, 100], [60, 60, 160, 160], set()),
]


def box_pairs(count: int = 300) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random pairs of boxes; none of them lies on the edge of a relation but by chance."""
    rng = np.random.default_rng(5)
    corners, sizes = rng.uniform(0, 300, (count, 2, 2)), rng.uniform(5, 150, (count, 2, 2))
    return list(np.concatenate([corners, corners + sizes], axis=2))


def swapped(names: frozenset[str], *pairs: tuple[str, str]) -> frozenset[str]:
    table = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return frozenset(table.get(name, name) for name in names)


def thing(x: float = 0, score: float = 0.95, color: str | None = None, size: float = 10) -> Detection:
    return Detection((x, 0, x + size, size), score, color=color)


def line(tag: str, *include: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"tag": tag, "include": list(include), "prompt": "a photo", **rest}


class Stub:
    """A detector that returns fixed detections."""

    def __init__(self, **found: list[Detection]) -> None:
        self.found = found

    def detect(self, image: np.ndarray) -> dict[str, list[Detection]]:
        return self.found


# --- positions


def related(a: Iterable[float], b: Iterable[float]) -> frozenset[str]:
    """The relations of two boxes that may be rows of an array."""
    (left, top, right, bottom), (x0, y0, x1, y1) = a, b
    return relations((left, top, right, bottom), (x0, y0, x1, y1))


@pytest.mark.parametrize(("a", "b", "expected"), GOLDEN)
def test_golden_relations(a: list[float], b: list[float], expected: set[str]) -> None:
    assert related(a, b) == expected


def test_every_relation_and_none_occurs_on_the_random_boxes() -> None:
    seen = {related(a, b) for a, b in box_pairs()}
    assert {frozenset(), *(frozenset({r}) for r in (LEFT, RIGHT, ABOVE, BELOW))} < seen
    assert frozenset({LEFT, BELOW}) in seen


def test_mirroring_swaps_the_relations_of_that_axis_only() -> None:
    across, down = np.array([2, 1, 0, 3]), np.array([0, 3, 2, 1])
    for a, b in box_pairs():
        flip = [np.where([True, False, True, False], 450 - box, box)[across] for box in (a, b)]
        assert related(*flip) == swapped(related(a, b), (LEFT, RIGHT))
        flip = [np.where([False, True, False, True], 450 - box, box)[down] for box in (a, b)]
        assert related(*flip) == swapped(related(a, b), (ABOVE, BELOW))


def test_swapping_the_boxes_inverts_and_transposing_turns() -> None:
    turn = np.array([1, 0, 3, 2])
    for a, b in box_pairs():
        assert related(b, a) == swapped(related(a, b), (LEFT, RIGHT), (ABOVE, BELOW))
        assert related(a[turn], b[turn]) == swapped(related(a, b), (LEFT, ABOVE), (RIGHT, BELOW))


def test_scaling_and_moving_both_boxes_change_nothing() -> None:
    for a, b in box_pairs():
        assert related(3.7 * a, 3.7 * b) == related(a, b)
        assert related(a + [50, -20, 50, -20], b + [50, -20, 50, -20]) == related(a, b)


# --- filtering


@pytest.mark.parametrize(("tag", "edge"), [("counting", 0.9), ("colors", 0.3), ("two_object", 0.3)])
def test_a_score_at_the_threshold_is_out_and_just_above_is_in(tag: str, edge: float) -> None:
    found = {"dog": [thing(score=edge), thing(score=np.nextafter(edge, 1)), thing(score=float("nan"))]}
    assert [d.score for d in keep(found, tag)["dog"]] == [np.nextafter(edge, 1)]


def test_at_most_sixteen_stay_and_they_are_the_most_certain() -> None:
    scores = np.random.default_rng(0).permutation(np.linspace(0.35, 0.85, 20)).tolist()
    kept = keep({"dog": [thing(score=s) for s in scores]}, "position")["dog"]
    assert [d.score for d in kept] == sorted(scores, reverse=True)[:16]


def test_identical_boxes_both_count_unless_suppression_is_asked_for() -> None:
    # overlap of the third with the first: 5/15
    found = {"dog": [thing(score=0.5), thing(score=0.6), thing(5, score=0.4)]}
    assert len(keep(found, "colors")["dog"]) == 3
    assert [d.score for d in keep(found, "colors", Rules(max_overlap=0.34))["dog"]] == [0.6, 0.4]
    assert [d.score for d in keep(found, "colors", Rules(max_overlap=0.33))["dog"]] == [0.6]


# --- verdicts


@pytest.mark.parametrize(("clocks", "reasons"), [
    (1, ("expected at least 2 clock, found 1",)),
    (2, ()),
    (3, ("expected fewer than 3 clock, found 3",)),
])  # fmt: skip
def test_counting_wants_the_exact_number(clocks: int, reasons: tuple[str, ...]) -> None:
    two = line("counting", {"class": "clock", "count": 2}, exclude=[{"class": "clock", "count": 3}])
    uncertain = [thing(score=0.9)] * 2
    found = Stub(clock=[thing(20 * i) for i in range(clocks)] + uncertain)
    assert evaluate(IMAGE, two, found) == (not reasons, reasons)


def test_only_the_most_certain_object_may_have_the_colour() -> None:
    red = line("colors", {"class": "apple", "count": 1, "color": "red"})
    wrong = evaluate(IMAGE, red, Stub(apple=[thing(score=0.8, color="red"), thing(score=0.9, color="green")]))
    right = evaluate(IMAGE, red, Stub(apple=[thing(score=0.9, color="red"), thing(score=0.8, color="green")]))
    assert wrong == (False, ("expected 1 red apple, found green",))
    assert right == (True, ())


def test_every_one_of_several_objects_needs_the_colour() -> None:
    two = line("color_count", {"class": "cup", "count": 2, "color": "blue"})
    mixed = {"cup": [thing(color="blue"), thing(color=None)]}
    assert verdict(IMAGE, two, mixed).reasons == ("expected 2 blue cup, found blue, no known colour",)
    assert verdict(IMAGE, two, {"cup": [thing(color="blue")] * 2}).correct


def test_the_colour_classifier_gets_the_picture_the_class_and_the_top_objects() -> None:
    calls = []

    def classify(image: np.ndarray, name: str, detections: Sequence[Detection]) -> list[str]:
        calls.append((image is IMAGE, name, [d.score for d in detections]))
        return ["pink"]

    found = Stub(kite=[thing(score=0.5), thing(score=0.7)])
    assert evaluate(IMAGE, line("colors", {"class": "kite", "count": 1, "color": "pink"}), found, classify).correct
    assert calls == [(True, "kite", [0.7])]


def beside(relation: str = LEFT, count: int = 1) -> dict[str, Any]:
    return line("position", {"class": "cow", "count": 1}, {"class": "dog", "count": count, "position": [relation, 0]})


def test_the_most_certain_dog_decides_the_position() -> None:
    found = {"cow": [thing(50)], "dog": [thing(90, score=0.9), thing(0, score=0.8)]}
    assert verdict(IMAGE, beside(LEFT), found) == (False, ("expected dog left of cow, found right of",))
    assert verdict(IMAGE, beside(RIGHT), found).correct


def test_every_pair_must_stand_in_the_relation() -> None:
    assert verdict(IMAGE, beside(count=2), {"cow": [thing(50)], "dog": [thing(0), thing(20)]}).correct
    mixed = verdict(IMAGE, beside(count=2), {"cow": [thing(50)], "dog": [thing(0), thing(51)]})
    assert mixed.reasons == ("expected dog left of cow, found no clear relation",)


def test_a_missing_target_gives_two_reasons_and_a_missing_subject_one() -> None:
    assert verdict(IMAGE, beside(), {"dog": [thing()]}).reasons == (
        "expected at least 1 cow, found 0",
        "there is no cow for dog to be left of",
    )
    assert verdict(IMAGE, beside(), {"cow": [thing()]}).reasons == ("expected at least 1 dog, found 0",)


def test_a_target_of_the_wrong_colour_is_no_target() -> None:
    both = line(
        "position",
        {"class": "cow", "count": 1, "color": "black"},
        {"class": "dog", "count": 1, "position": [LEFT, 0]},
    )
    found = {"cow": [thing(50, color="white")], "dog": [thing()]}
    assert len(verdict(IMAGE, both, found).reasons) == 2


def test_a_blank_picture_fails_with_a_reason_for_every_clause() -> None:
    pair = line("color_attr", *({"class": c, "count": 1, "color": "red"} for c in ("bus", "cat")))
    assert evaluate(IMAGE, pair, Stub()).reasons == (
        "expected at least 1 bus, found 0",
        "expected at least 1 cat, found 0",
    )


def test_mirroring_the_detections_turns_a_left_verdict_into_a_right_one() -> None:
    found = {"cow": [thing(50)], "dog": [thing(0)]}
    mirrored = {k: [Detection((100 - d.box[2], 0, 100 - d.box[0], 10), d.score) for d in v] for k, v in found.items()}
    outcomes = [verdict(IMAGE, beside(r), f).correct for f in (found, mirrored) for r in (LEFT, RIGHT)]
    assert outcomes == [True, False, False, True]


def test_the_rules_and_the_package_load_no_torch() -> None:
    code = "import sys, verifiers, verifiers.detect.geneval, verifiers.detect.summary; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
