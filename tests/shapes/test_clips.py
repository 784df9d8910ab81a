from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gensearch.shapes import clips, world
from gensearch.shapes.drawing import SIZE, outline


def drawn(count: int, seed: int = 3, tag: str | None = None):
    rng = np.random.default_rng(seed)
    return [clips.sample(rng, tag) for _ in range(count)]


def extent(clip: clips.Clip, thing: int) -> np.ndarray:
    """Left, top, right and bottom of an object in every frame where it is, [n, 4]."""
    corners = clip.things[thing].radius * np.array(outline(clip.things[thing].shape))
    centres = np.array([at for at in clip.paths[thing] if at])
    return np.hstack([centres + corners.min(0), centres + corners.max(0)])


def test_nothing_held_out_is_drawn_and_every_tag_comes():
    lines = [line for line, _ in drawn(400)]
    for line in lines:
        assert not world.is_held_out(tuple((c["class"], c["color"]) for c in line["include"]))
    counts = Counter(line["tag"] for line in lines)
    for tag, share in clips.TRAIN_MIX.items():
        spread = np.sqrt(share * (1 - share) / 400)
        assert abs(counts[tag] / 400 - share) < 4 * spread
    assert {c["motion"] for line in lines for c in line["include"]} == set(clips.MOTIONS)


def test_the_benchmark_asks_only_for_what_is_held_out():
    lines = clips.benchmark()
    assert Counter(line["tag"] for line in lines) == dict.fromkeys(clips.TAGS, 32)
    assert len({line["prompt"] for line in lines}) == len(lines)
    assert all((c["class"], c["color"]) in world.HELD_OUT_PAIRS for line in lines for c in line["include"])
    assert clips.benchmark() == lines


def test_parse_is_the_inverse_of_spec():
    lines = [line for line, _ in drawn(200)] + clips.benchmark()
    assert [clips.parse(line["prompt"]) for line in lines] == lines


def test_prompts_read_as_they_should():
    objects = [("star", "red", "moving fast to the left"), ("ring", "orange", "standing still")]
    line = clips.spec("two", objects)
    assert line["prompt"] == "a red star moving fast to the left and an orange ring standing still"
    assert line["include"][0] == {"class": "star", "count": 1, "color": "red", "motion": "moving fast to the left"}


@pytest.mark.parametrize(
    "prompt",
    [
        "a red star",
        "a photo of a red star",
        "an red star appearing",
        "a red star moving to the left",
        "a red star appearing and a blue ring standing still",
        "a red star standing still and a blue star standing still",
        "a red star standing still and a blue ring standing still and a pink heart standing still",
    ],
)
def test_prompts_outside_the_grammar_are_refused(prompt):
    with pytest.raises(ValueError, match=r"write for example 'an? \w+ \w+ \w+ing"):
        clips.parse(prompt)


def test_objects_move_as_the_prompt_says_and_stay_in_the_picture():
    for line, clip in drawn(200):
        for thing, clause in enumerate(line["include"]):
            motion = clips.MOTIONS[clause["motion"]]
            boxes, there = extent(clip, thing), [at is not None for at in clip.paths[thing]]
            assert boxes.min() >= 1 - 1e-6
            assert boxes.max() <= SIZE - 1 + 1e-6
            steps = np.diff(np.array([at for at in clip.paths[thing] if at]), axis=0)
            if motion.kind == "move":
                pace = clips.SPEEDS[motion.speed]
                along = steps @ np.array(motion.direction)
                assert np.allclose(along, pace)
                assert np.allclose(steps @ np.array(motion.direction[::-1]), 0)
            elif motion.kind == "bounce":
                along = np.sign(np.round(steps @ np.array(motion.direction), 6))
                assert (along[0], along[-1]) == (1, -1)
                wall = (0, 1, 2, 3)[[(-1, 0), (0, -1), (1, 0), (0, 1)].index(motion.direction)]
                gap = boxes[:, wall].min() if wall < 2 else SIZE - boxes[:, wall].max()
                assert gap == pytest.approx(1)
            else:
                assert np.allclose(steps, 0)
            if motion.kind in ("appear", "disappear"):
                assert there == sorted(there, reverse=motion.kind == "disappear")
                assert there.index(not there[0]) == clips.CHANGE
            else:
                assert all(there)


def test_two_objects_never_touch():
    for _, clip in drawn(100, tag="two"):
        one, other = extent(clip, 0), extent(clip, 1)
        gaps = np.maximum(one[:, :2] - other[:, 2:], other[:, :2] - one[:, 2:]).max(1)
        assert gaps.min() >= clips.GAP - 1e-6


def test_frames_show_their_scenes_also_when_drawn_alone():
    _, clip = drawn(1, tag="two")[0]
    frames = clips.draw(clip)
    assert frames.shape == (clips.FRAMES, SIZE, SIZE, 3)
    assert np.array_equal(frames[5], np.asarray(world.render(clip.scene(5))))
    assert np.array_equal(clips.draw(clip, range(4, 7)), frames[4:7])


def test_the_words_are_those_of_the_prompts():
    spoken = {word for line, _ in drawn(300) for word in line["prompt"].split()}
    assert spoken <= set(clips.words())
    assert len(clips.words()) == len(set(clips.words()))


def test_what_a_frame_shows_is_said_in_the_words_of_pictures():
    assert clips.still("an orange ring moving fast up") == "a photo of an orange ring"
    two = clips.still("a red star standing still and a blue ring moving slowly down")
    assert two == "a photo of a red star and a blue ring"
    assert world.parse(two)["tag"] == "color_attr"
    with pytest.raises(ValueError, match="cannot read"):
        clips.still("a red star")


@pytest.mark.parametrize("most", [3, 32, 48])
def test_the_benchmark_has_as_many_prompts_of_a_tag_as_there_are(most):
    lines = clips.benchmark(most)
    counts = {tag: sum(line["tag"] == tag for line in lines) for tag in clips.TAGS}
    assert counts == {"motion": most, "bounce": most, "change": min(most, 32), "two": most}
    assert len({line["prompt"] for line in lines}) == len(lines)
