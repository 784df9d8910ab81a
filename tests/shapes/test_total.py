"""The exact judges give a verdict on any picture and clip, whatever its pixels and its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensearch.shapes.detector import PALETTE, ShapesDetector
from gensearch.shapes.judge import ShapesJudge, ShapesPartial
from gensearch.shapes.tracker import ShapesTracker, ShapesTrackerPartial
from verifiers.detect.geneval import Detection, keep, overlap, relations, suppress

SIZES = [(1, 1), (1, 9), (2, 3), (3, 3), (4, 64), (5, 5), (17, 33), (64, 64)]
PROMPTS = ["a photo of a red star", "a photo of two blue rings", "a photo of a star left of a ring"]
KINDS = ["noise", "constant", "stripes", "checkers", "gradient", "palette", "block", "nearly"]
MOVING = "a red star moving fast to the left"
PICTURES = st.tuples(st.sampled_from(KINDS), st.sampled_from(SIZES), st.integers(0, 10_000))
SLOW = [HealthCheck.too_slow]  # on a busy machine


def picture(kind: str, size: tuple[int, int], seed: int) -> np.ndarray:
    """A picture [h, w, 3] uint8 that no generator of the world would draw."""
    rng, (height, width) = np.random.default_rng(seed), size
    one, two = rng.integers(0, 256, (2, 3))
    colors = rng.permutation(PALETTE)[: rng.integers(1, len(PALETTE) + 1)]
    rows, columns = np.mgrid[:height, :width]
    stripes = colors[columns * len(colors) // width]
    if kind == "block":  # of stripes, on the light ground that the detector expects
        inside = (abs(2 * rows - height) < height / 2) & (abs(2 * columns - width) < width / 2)
        stripes = np.where(inside[..., None], stripes, 240)
    made = {
        "noise": rng.integers(0, 256, (height, width, 3)),
        "constant": np.broadcast_to(one, (height, width, 3)),
        "stripes": stripes,
        "block": stripes,
        "checkers": colors[(rows // rng.integers(1, 9) + columns // rng.integers(1, 9)) % min(2, len(colors))],
        "gradient": one + (two - one) * (columns / max(1, width - 1))[..., None],
        "palette": colors[rng.integers(0, len(colors), (height, width))],
        "nearly": one + rng.integers(-3, 4, (height, width, 3)),
    }[kind]
    return np.clip(made, 0, 255).astype(np.uint8)


@pytest.mark.filterwarnings("error")
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(PICTURES)
def test_the_detector_finds_objects_or_none_in_any_picture(made):
    image = picture(*made)
    for detections in ShapesDetector().detect(image).values():
        for found in detections:
            assert 0 <= found.score <= 1
            left, top, right, bottom = found.box
            assert 0 <= left < right <= image.shape[1]
            assert 0 <= top < bottom <= image.shape[0]
            assert found.mask is not None
            assert found.mask.shape == image.shape[:2]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(PICTURES, st.sampled_from(PROMPTS))
def test_every_picture_has_a_verdict(made, prompt):
    media = torch.from_numpy(picture(*made)).permute(2, 0, 1)[None] / 255
    whole, share = (judge(media, [prompt]).total.item() for judge in (ShapesJudge(), ShapesPartial()))
    assert whole in (0, 1)
    assert 0 <= share <= 1
    assert (share == 1) is (whole == 1)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 100)), min_size=1, max_size=6), st.sampled_from(SIZES))
def test_every_clip_has_a_verdict(frames, size):
    made = np.stack([picture(kind, size, seed) for kind, seed in frames])
    media = torch.from_numpy(made).permute(0, 3, 1, 2)[None] / 255
    for progress in (0.3, 1.0):
        whole, share = (j(media, [MOVING], progress=progress).total for j in (ShapesTracker(), ShapesTrackerPartial()))
        assert whole.item() in (0, 1)
        assert 0 <= share.item() <= 1


def test_a_colour_that_is_the_ground_itself_is_no_object():
    """The template of a region without any cover would be divided by its mass, 0."""
    image = picture("checkers", (64, 64), 3)
    image[:, :32] = PALETTE[0]
    assert all(0 <= d.score <= 1 for found in ShapesDetector().detect(image).values() for d in found)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_unscored(value):
    media = torch.full((2, 3, 8, 8), 0.9)
    media[1, 0, 0, 0] = value
    assert ShapesJudge()(media, PROMPTS[:2]).total.isnan().tolist() == [False, True]
    assert ShapesTracker()(media[:, None], [MOVING] * 2).total.isnan().tolist() == [False, True]


@pytest.mark.parametrize("judge", [ShapesJudge(), ShapesPartial(), ShapesTracker(), ShapesTrackerPartial()])
def test_other_media_are_refused_in_words(judge):
    moving = isinstance(judge, ShapesTracker | ShapesTrackerPartial)
    right = torch.zeros(2, 4, 3, 8, 8) if moving else torch.zeros(2, 3, 8, 8)
    prompt = MOVING if moving else PROMPTS[0]
    for media in (torch.zeros(2, 3, 8, 8) if moving else torch.zeros(2, 4, 3, 8, 8), right[..., :1, :, :]):
        with pytest.raises(ValueError, match=r"\[b, (t, )?3, h, w\]"):
            judge(media, [prompt] * 2)
    with pytest.raises(ValueError, match="1 prompts"):
        judge(right, [prompt])


BOXES = st.tuples(*[st.sampled_from([0.0, 1.0, 1e-9, 5.0, 64.0, 1e6, -3.0])] * 4)


@pytest.mark.filterwarnings("error")
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(BOXES, BOXES)
def test_the_rules_hold_for_points_lines_and_boxes_turned_inside_out(a, b):
    shared = overlap(a, b)
    assert 0 <= shared <= 1
    assert shared == overlap(b, a)
    found = relations(a, b)
    assert found <= {"left of", "right of", "above", "below"}
    assert not {"left of", "right of"} <= found
    assert not relations(a, a)
    kept = suppress([Detection(a, 0.9), Detection(b, 0.8)], 0.5)
    assert kept[0].box == a


def test_scores_that_are_no_numbers_do_not_count():
    boxes = [Detection((0, 0, 1, 1), score) for score in (float("nan"), 0.9, float("nan"), 0.95)]
    assert [d.score for d in keep({"star": boxes}, "single_object")["star"]] == [0.95, 0.9]
