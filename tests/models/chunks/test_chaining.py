"""Clips chained through their last frames: the laws of chunks on real pipelines, and prefixes that are stored once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from gensearch import load
from gensearch.core.noise import randn
from gensearch.engine.run import run
from gensearch.files.images import to_images
from gensearch.models.chunks.chaining import Chaining
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.testing import ChunkLaws
from gensearch.testing.witness import counting
from tests.builders import tiny_dit, tiny_video
from tests.builders.tiny import LENGTH
from verifiers.controls.random import RandomScore

PROMPT = "a photo of a red star"
PICTURE = Image.new("RGB", (16, 16), (200, 30, 60))
LONG: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "max_sequence_length": LENGTH,
    "guidance_scale": 1.0,
}
CLIP: dict[str, Any] = {
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "max_sequence_length": LENGTH,
    "guidance_scale": 1.0,
}


def wan(**options):
    return Chaining(tiny_video.wan_image_to_video(), image=PICTURE, chunks=2, steps=1, **CLIP, **options)


def ltx(**options):
    return Chaining(tiny_video.ltx_condition(), chunks=2, steps=1, **LONG, **options)


class TestLaws(ChunkLaws):
    @pytest.fixture(params=[ltx, pytest.param(wan, marks=pytest.mark.slow)], scope="class")
    @classmethod
    def model(cls, request):
        return request.param()

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.pipeline.transformer}


def test_a_clip_goes_on_from_the_last_frame_and_drops_its_copy():
    model = wan()
    noise = randn([1, 2], model.noise_shape)
    first = model.start([PROMPT], noise[:1])
    clip = model.render(model.advance(first, noise[1:]))
    settings = {"output_type": "pt", "num_inference_steps": 1, **CLIP}
    begun = model.pipeline(image=PICTURE, prompt=PROMPT, latents=noise[:1], **settings).frames
    (*_, last) = to_images(begun[0])
    second = model.pipeline(image=last, prompt=PROMPT, latents=noise[1:], **settings).frames
    assert model.frames == (5, 4)
    assert torch.equal(clip, torch.cat([begun, second[:, 1:]], 1).float())


def test_a_picture_to_begin_with_is_known_by_its_pixels():
    swapped = Image.new("RGB", (16, 16), (30, 200, 60))  # of the same brightness
    models = [
        Chaining(tiny_video.wan_image_to_video(), image=image, chunks=2, steps=1, **CLIP)
        for image in (PICTURE, PICTURE.copy(), swapped)
    ]
    one, same, other = (model.fingerprint()["image"] for model in models)
    assert one == same != other


def test_noise_is_latents_where_they_count_and_a_key_where_not():
    assert wan().noise_shape == (4, 2, 2, 2)
    assert ltx().noise_shape == (8,), "this pipeline ignores its latents"


def test_longer_overlaps_are_shown_whole_to_pipelines_that_take_clips(monkeypatch):
    model = ltx(overlap=3)
    assert model.frames == (5, 2)
    seen = []
    own = model.pipeline.video_processor.preprocess_video

    def watched(video, *args, **kwargs):
        seen.append(own(video, *args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(model.pipeline.video_processor, "preprocess_video", watched)
    state = model.start([PROMPT], randn([1], model.noise_shape))
    assert not seen
    first = model.render(state)[0]
    model.advance(state, randn([2], model.noise_shape))
    (shown,) = seen
    assert shown.shape[2] == 3
    torch.testing.assert_close(shown[0].transpose(0, 1) / 2 + 0.5, first[-3:], rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: wan(overlap=3), "goes on from one picture, not from 3; leave out overlap"),
        (lambda: ltx(overlap=2), r"reads 1 \+ k \* 2 frames, not 2"),
    ],
)
def test_overlaps_that_a_pipeline_does_not_read_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_pipelines_that_do_not_go_on_from_frames_are_refused():
    class Unsaid:
        def __call__(self, prompt, video=None):
            raise AssertionError

    class Masked:
        def __call__(self, prompt, video=None, mask=None, num_frames=5):
            raise AssertionError

    class Own:
        def __call__(self, prompt, conditions=None, num_frames=5):
            raise AssertionError

    for pipeline, message in (
        (Unsaid(), "does not say how long its clips are; give num_frames="),
        (Masked(), "makes all frames anew that no mask keeps"),
        (Own(), "takes conditions of its own kind only"),
    ):
        with pytest.raises(ValueError, match=message):
            Chaining(pipeline)


def test_a_tree_over_clips_costs_its_clips():
    model = wan()
    with counting({"nfe": model.pipeline.transformer}) as seen:
        outcome = run(tree_of_frames, model, RandomScore(), PROMPT, branch=[3, 2], seed=1)
    assert seen["nfe"] == outcome.ledger.spent.nfe == 5
    assert outcome.best.media.shape == (9, 3, 16, 16)


def test_what_cannot_be_chained_is_refused():
    with pytest.raises(ValueError, match="WanPipeline takes no frames to begin with"):
        Chaining(tiny_dit.wan(), **CLIP)
    with pytest.raises(ValueError, match="begins with a picture; give image="):
        Chaining(tiny_video.wan_image_to_video(), **CLIP)
    with pytest.raises(ValueError, match="an overlap of 5 leaves nothing of clips of 5 frames"):
        ltx(overlap=5)
    with pytest.raises(ValueError, match="generator cannot be a setting"):
        ltx(generator=None)
    with pytest.raises(ValueError, match="one at a time, not 2"):
        ltx(batch_size=2)


def test_they_are_loaded_for_their_pipelines(tmp_path):
    PICTURE.save(tmp_path / "picture.png")
    model = load(tiny_video.wan_image_to_video(), image=str(tmp_path / "picture.png"), chunks=2, steps=1, **CLIP)
    assert isinstance(model, Chaining)
    assert isinstance(load(tiny_video.ltx_condition(), steps=1, **LONG), Chaining)
    with pytest.raises(ValueError, match="unknown option 'num_framez'"):
        load(tiny_video.ltx_condition(), num_framez=5)
