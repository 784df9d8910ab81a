"""The training data of shapes/clip-motion: labels agree with the tracker on the rendered pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.shapes import clips, tracker, world
from gensearch.shapes.drawing import render
from gensearch.shapes.train.judges import clip_motion

SEEDS = range(40)


def films(spoilt: bool):
    """Clips as scenes, with their prompts."""
    out = []
    for seed in SEEDS:
        rng = np.random.default_rng((5, seed))
        line, drawn = clips.sample(rng)
        film = [drawn.scene(frame) for frame in range(clips.FRAMES)]
        out.append((line, clip_motion.spoil(film, rng) if spoilt else film))
    return out


SOME = [(True, 5)]
OTHERS = [(False, 1), (False, 5), (False, 13), (True, 1), (True, 13)]


@pytest.mark.parametrize(
    ("spoilt", "length"), [*SOME, *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHERS)]
)
def test_labels_agree_with_the_tracker_on_the_frames(spoilt, length):
    """It detects objects in pixels and labels are from places, so a speed at a limit may differ: at most 1 of 160."""
    rng, differ = np.random.default_rng(6), 0
    for line, film in films(spoilt):
        asked = [line, *(clip_motion.near_miss(rng, line) for _ in range(3))]
        labels = clip_motion.shows([film], [length], asked)[0].bool().tolist()
        seen = tracker.sightings([np.asarray(render(scene)) for scene in film[:length]])
        found = [tracker.correct(tracker.judge(seen, other, length == 13)) for other in asked]
        differ += sum(a != b for a, b in zip(labels, found, strict=True))
    assert differ <= 1


def test_whole_clips_show_their_prompt_and_nearly_none_once_spoilt():
    def rate(spoilt):
        found = [clip_motion.shows([film], [13], [line]).item() for line, film in films(spoilt)]
        return sum(found) / len(found)

    assert rate(spoilt=False) == 1
    assert rate(spoilt=True) < 0.2


def test_near_misses_differ_and_never_name_what_is_held_out():
    rng = np.random.default_rng(7)
    for line, _ in films(spoilt=False):
        (other,) = clip_motion.near_misses(rng, line, 1)
        assert other["prompt"] != line["prompt"]
        assert clips.parse(other["prompt"])["include"] == other["include"]
        assert not world.is_held_out(tuple((c["class"], c["color"]) for c in other["include"]))
    held_out = clips.benchmark()[0]
    assert clip_motion.near_miss(rng, held_out)["prompt"] != held_out["prompt"], "what is held out has near misses too"
    with pytest.raises(ValueError, match="held-out pair"):
        clip_motion.near_misses(rng, held_out, 1)


def test_a_batch_is_a_function_of_its_step_and_hides_what_is_not_there_yet():
    x, prompts, labels, weights = clip_motion.batch(24, 2, 3, 9)
    again = clip_motion.batch(24, 2, 3, 9)
    assert torch.equal(x, again[0])
    assert torch.equal(prompts, again[1])
    assert (x.shape, labels.shape, weights.shape) == ((24, 3, 128, 128), (24, 72), (24, 72))
    blank = (x.unflatten(2, (2, 64)).unflatten(4, (2, 64)) == 0.5).all(1).flatten(1, 1).all((2, 4))
    there = (~blank).flatten(1)
    assert there[:, 0].all()
    assert not there.all()
    assert (there[:, :-1] >= there[:, 1:]).all(), "frames come one after the other"
    assert 0.3 < labels[:, :24].diagonal().mean() < 1


def test_the_vision_tower_begins_as_the_one_for_pictures_on_every_frame():
    model = clip_motion.build()
    places = model.visual.positional_embedding[1:].view(2, 8, 2, 8, -1).transpose(1, 2).flatten(0, 1)
    drift = (places - places.mean(0)).flatten(1, 2)
    assert drift.std((0, 1)).max() < 0.06, "frames differ by their own offset alone"
    assert torch.allclose(drift, drift[:, :1].expand_as(drift), atol=1e-5)
    assert model.encode_image(torch.zeros(1, 3, 128, 128)).shape == (1, 128)
