"""Full-sequence video pipelines as they are: every layout of latents and media, and noise that must count."""

from __future__ import annotations

import pytest
import torch

from gensearch import load
from gensearch.models.black_box import BlackBox, to_media
from gensearch.models.probed import Probed
from gensearch.noise import randn
from gensearch.run import run
from gensearch.sampling import generate
from gensearch.search.best_of_n import best_of_n
from tests import tiny_dit, tiny_video
from tests.tiny import LENGTH
from verifiers.random import RandomScore

PROMPT = "a photo of a red star"
CLIP = {"height": 16, "width": 16, "num_frames": 5, "max_sequence_length": LENGTH, "num_inference_steps": 2}
LAYOUTS = {  # pipeline, how it lays out one sample's latents
    "channels, frames": (tiny_dit.wan, (4, 2, 2, 2)),
    "frames, channels": (tiny_video.cogvideox, (2, 4, 2, 2)),
    "packed tokens": (tiny_video.ltx, (48, 8)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_black_box_takes_latents_as_the_pipeline_lays_them_out(layout):
    build, shape = LAYOUTS[layout]
    pipeline = build()
    if layout == "packed tokens":
        shape = (tiny_video_tokens(pipeline), shape[1])
    model = BlackBox(pipeline, shape, guidance_scale=1.0, **CLIP)
    noise = randn([1, 2], shape)
    media = generate(model, [PROMPT] * 2, noise, [()] * 2)
    assert media.shape == (2, 5, 3, 16, 16)
    assert not torch.equal(media[0], media[1])
    theirs = pipeline(prompt=PROMPT, latents=noise[:1], output_type="pt", guidance_scale=1.0, **CLIP)[0]
    assert torch.equal(media[:1], theirs.float())


def tiny_video_tokens(pipeline):
    stride, edge = pipeline.vae_temporal_compression_ratio, pipeline.vae_spatial_compression_ratio
    return ((5 - 1) // stride + 1) * (16 // edge) ** 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_finds_the_layout_by_itself(layout):
    build, shape = LAYOUTS[layout]
    pipeline = build()
    model = load(pipeline, adapter="probed", batch_size=2, guidance_scale=1.0, **CLIP)
    assert isinstance(model, Probed)
    assert model.noise_shape == (shape if layout != "packed tokens" else (tiny_video_tokens(pipeline), shape[1]))
    assert (model.num_steps, model.nfe_per_step) == (2, 1)
    outcome = run(best_of_n, model, RandomScore(), PROMPT, n=3)
    assert outcome.best.media.shape == (5, 3, 16, 16)
    assert outcome.ledger.spent.nfe == 6


def test_latents_that_do_not_count_are_found_out():
    with pytest.raises(ValueError, match="ignores"):
        BlackBox(tiny_video.ltx_condition(), (48, 8), guidance_scale=1.0, **CLIP)
    with pytest.raises(ValueError, match="ignores"):
        Probed(tiny_video.ltx_condition(), batch_size=1, guidance_scale=1.0, **CLIP)


@pytest.mark.parametrize("channels", [2, 4])
def test_clips_of_any_layout_become_frames_first(channels):
    clips = torch.rand(2, 5, 3, 6, 8)
    given = clips.numpy() if channels == 2 else clips.movedim(2, 4).numpy()
    if channels == 2:
        assert torch.equal(to_media(clips), clips)
    else:
        assert torch.equal(to_media(given), clips)
