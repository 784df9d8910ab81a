from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gensearch.shapes import clips, tracker
from gensearch.shapes.drawing import COLORS, SHAPES, Thing
from verifiers.types import Verifier

pytestmark = pytest.mark.timeout(600)  # thousands of frames are searched once
LEFT = "a red star moving fast to the left"


Trace = Sequence[tuple[float, float] | None]  # where the middle of an object is in each frame


def movie(*objects: tuple[Thing, Trace]) -> clips.Clip:
    return clips.Clip(tuple(thing for thing, _ in objects), tuple(tuple(path) for _, path in objects))


def straight(x: float, y: float, dx: float, dy: float = 0.0) -> list[Any]:
    return [(x + dx * k, y + dy * k) for k in range(clips.FRAMES)]


def star(color: str = "red") -> Thing:
    return Thing("star", color, 0, 0, 10)


def verdict(frames: np.ndarray, prompt: str, whole: bool = True) -> tracker.Verdict:
    return tracker.judge(tracker.sightings(frames), clips.parse(prompt), whole)


def wrong(frames: np.ndarray, prompt: str, whole: bool = True) -> set[str]:
    return {aspect for aspect, right in verdict(frames, prompt, whole).items() if right is False}


SIZES = (128, 512)  # the smaller one by default


@pytest.fixture(scope="module", params=[SIZES[0], pytest.param(SIZES[1], marks=pytest.mark.slow)])
def clean(request):
    """Clips of all tags, a quarter of them held out, with their sightings."""
    rng, size = np.random.default_rng(11), request.param
    held_out = clips.benchmark()[:: 512 // size]
    lines = [clips.sample(rng, clips.TAGS[i % 4])[0] for i in range(size - len(held_out))] + held_out
    return [(line, tracker.sightings(clips.draw(clips.clip_for(line, rng)))) for line in lines]


def test_every_aspect_of_clean_clips_is_right(clean):
    verdicts = [tracker.judge(seen, line) for line, seen in clean]
    assert len(verdicts) in SIZES
    for aspect in tracker.ASPECTS:
        judged = [said for v in verdicts if (said := v[aspect]) is not None]
        assert len(judged) >= 200 / 512 * len(clean)
        assert np.mean(judged) >= 0.99, aspect
    assert np.mean([tracker.correct(v) for v in verdicts]) >= 0.99


def test_every_prefix_of_clean_clips_is_right_so_far(clean):
    assert np.mean([tracker.right_until(seen, line) == clips.FRAMES for line, seen in clean]) >= 0.99


def test_clips_do_not_fulfil_other_prompts(clean):
    """Each clip against the prompt of another one: right only if the two ask for the same."""
    accepted = [
        tracker.correct(tracker.judge(seen, other))
        for (line, seen), (other, _) in zip(clean, clean[1:] + clean[:1], strict=True)
        if line["prompt"] != other["prompt"]
    ]
    assert np.mean(accepted) <= 0.005


def changed(clause: dict[str, Any], rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """A clause with one thing changed, by the aspect that then is wrong."""
    motion = clips.MOTIONS[clause["motion"]]
    out = {
        "object": clause | {"class": str(rng.choice([s for s in SHAPES if s != clause["class"]]))},
        "color": clause | {"color": str(rng.choice([c for c in COLORS if c != clause["color"]]))},
    }
    if motion.kind in ("move", "bounce"):
        same = [p for p, m in clips.MOTIONS.items() if m.kind == motion.kind and m.speed == motion.speed]
        out["direction"] = clause | {"motion": str(rng.choice([p for p in same if p != clause["motion"]]))}
    if motion.kind == "move":
        other = {"slow": ("slowly", "fast"), "fast": ("fast", "slowly")}[motion.speed]
        out["speed"] = clause | {"motion": clause["motion"].replace(*other)}
    return out


def test_one_changed_word_is_found_in_its_aspect(clean):
    rng = np.random.default_rng(2)
    rejected: dict[str, list[bool]] = {aspect: [] for aspect in ("object", "color", "direction", "speed")}
    for line, seen in clean:
        for aspect, clause in changed(line["include"][0], rng).items():
            asked = line | {"include": [clause, *line["include"][1:]]}
            if len({c["class"] for c in asked["include"]}) == len(asked["include"]):
                rejected[aspect].append(tracker.judge(seen, asked)[aspect] is False)
    for aspect, found in rejected.items():
        assert len(found) >= 150 / 512 * len(clean)
        assert np.mean(found) >= 0.99, aspect


def test_a_colour_that_changes_half_way_is_another_object():
    one, other = (clips.draw(movie((star(c), straight(50, 30, -2.6)))) for c in ("red", "blue"))
    assert wrong(one, LEFT) == set()
    assert wrong(np.concatenate([one[:7], other[7:]]), LEFT) == {"identity"}
    assert wrong(np.concatenate([one[:5], other[5:]]), LEFT) == {"identity", "color"}


def test_a_shape_that_changes_half_way_is_another_object():
    one = clips.draw(movie((star(), straight(50, 30, -2.6))))
    other = clips.draw(movie((replace(star(), shape="heart"), straight(50, 30, -2.6))))
    assert "identity" in wrong(np.concatenate([one[:7], other[7:]]), LEFT)


@pytest.mark.parametrize(
    ("path", "aspects"),
    [
        (straight(14, 30, 2.6), {"direction"}),
        (straight(30, 14, 0, 2.6), {"direction"}),
        (straight(50, 14, -2.6, 2.6), {"direction"}),
        (straight(40, 30, 0), {"direction", "speed"}),
        (straight(50, 30, -1.0), {"speed"}),
        (straight(50, 30, -2.6)[:7] + [None] * 6, {"count"}),
        (straight(50, 30, -2.6)[:6] + [None] + straight(50, 30, -2.6)[7:], {"count", "smoothness"}),
        ([(50 - 2.6 * k, 20.0 if k < 6 else 48.0) for k in range(13)], {"identity"}),
        ([(50 - 2.6 * k - 3 * (k % 2), 30.0) for k in range(13)], {"smoothness"}),
    ],
    ids=["right", "down", "aslant", "still", "slow", "vanishes", "blinks", "teleports", "stutters"],
)
def test_wrong_motion_is_found_in_its_aspect(path, aspects):
    assert wrong(clips.draw(movie((star(), path))), LEFT) == aspects


def test_a_second_object_counts_as_one_too_many():
    extra = (Thing("ring", "blue", 0, 0, 8), straight(20, 54, 0))
    assert wrong(clips.draw(movie((star(), straight(50, 20, -2.6)), extra)), LEFT) == {"count", "identity"}


def test_two_motions_that_are_swapped_are_wrong():
    swapped = movie((star(), straight(50, 18, 0)), (Thing("ring", "blue", 0, 0, 8), straight(50, 48, -2.6)))
    prompt = "a red star moving fast to the left and a blue ring standing still"
    assert wrong(clips.draw(swapped), prompt) == {"direction", "speed"}


@pytest.mark.parametrize(("frames", "whole", "right"), [(5, False, True), (13, True, False), (5, True, False)])
def test_a_bounce_may_still_come_in_a_prefix_only(frames, whole, right):
    onwards = clips.draw(movie((star(), straight(45, 30, -2.6))))[:frames]
    assert (wrong(onwards, "a red star bouncing off the left wall", whole) == set()) is right


def test_a_bounce_in_mid_air_is_wrong():
    path = [(40 - 2.6 * min(k, 12 - k), 30.0) for k in range(13)]
    assert wrong(clips.draw(movie((star(), path))), "a red star bouncing off the left wall") == {"direction"}


@pytest.mark.parametrize(
    ("path", "prompt", "frames", "right"),
    [
        ([None] * 13, "a red star appearing", 5, True),
        ([None] * 13, "a red star appearing", 13, False),
        (straight(30, 30, 0), "a red star appearing", 1, False),
        (straight(30, 30, 0), "a red star disappearing", 1, True),
        (straight(30, 30, 0), "a red star disappearing", 13, False),
        ([None] * 13, "a red star disappearing", 1, False),
        ([None] * 5 + straight(30, 30, 0)[5:], "a red star appearing", 13, True),
        ([None] * 5 + straight(30, 30, 0)[5:9] + [None] * 4, "a red star appearing", 13, False),
    ],
)
def test_things_appear_once_and_stay(path, prompt, frames, right):
    seen = clips.draw(movie((star(), path)))[:frames]
    assert (wrong(seen, prompt, frames == 13) == set()) is right


def test_how_far_a_clip_is_right():
    line = clips.parse(LEFT)
    path = straight(50, 30, -2.6)
    turned = path[:9] + [(path[8][0] + 2.6 * k, 30.0) for k in range(1, 5)]
    cases: list[tuple[Trace, int]] = [(path, 13), (turned, 9), (straight(14, 30, 2.6), 1), ([None] * 13, 0)]
    for shown, frames in cases:
        seen = tracker.sightings(clips.draw(movie((star(), shown))))
        assert tracker.right_until(seen, line) == frames
    half = tracker.sightings(clips.draw(movie((star(), path)))[:5])
    assert tracker.right_until(half, line) == 5


def media(clip: clips.Clip) -> torch.Tensor:
    return torch.from_numpy(clips.draw(clip)).permute(0, 3, 1, 2)[None] / 255


@pytest.mark.parametrize(
    ("judge", "name", "scores"),
    [
        (tracker.ShapesTracker(), "shapes/tracker", [1, 0]),
        (tracker.ShapesTrackerPartial(), "shapes/tracker-partial", [1, 6 / 7]),
    ],
)
def test_both_are_verifiers_without_gradients(judge, name, scores):
    rows = torch.cat([media(movie((star(), straight(x, 30, dx)))) for x, dx in ((50, -2.6), (14, 2.6))])
    assert isinstance(judge, Verifier)
    assert (judge.name, judge.differentiable) == (name, False)
    out = judge(rows.requires_grad_(), [LEFT, LEFT])
    assert out.total.tolist() == pytest.approx(scores)
    assert not out.total.requires_grad
    assert {aspect: part.tolist()[1] for aspect, part in out.parts.items() if part[1] == 0} == {"direction": 0}
    assert judge(rows[:, :1], [LEFT, LEFT], progress=0.25).total.tolist() == [1, 1]


def test_what_is_not_finite_stays_unscored_and_pictures_are_refused():
    rows = torch.cat([media(movie((star(), straight(50, 30, -2.6))))] * 2)
    rows[0, 3, 1, 5, 5] = torch.nan
    scores = tracker.ShapesTracker()(rows, [LEFT] * 2)
    assert scores.total.isnan().tolist() == [True, False]
    assert scores.parts["color"].isnan().tolist() == [True, False]
    with pytest.raises(ValueError, match=r"shape \[2, 3, 64, 64\]"):
        tracker.ShapesTracker()(rows[:, 0], [LEFT] * 2)
