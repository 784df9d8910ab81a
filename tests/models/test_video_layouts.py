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
CLIP = {"height": 32, "width": 32, "num_frames": 5, "max_sequence_length": LENGTH, "num_inference_steps": 2}
LAYOUTS = {  # pipeline, how it lays out one sample's latents
    "channels, frames": (tiny_dit.wan, (4, 2, 4, 4)),
    "frames, channels": (tiny_video.cogvideox, (2, 4, 4, 4)),
    "packed tokens": (tiny_video.ltx, (192, 8)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_black_box_takes_latents_as_the_pipeline_lays_them_out(layout):
    build, shape = LAYOUTS[layout]
    pipeline = build()
    model = BlackBox(pipeline, shape, guidance_scale=1.0, **CLIP)
    noise = randn([1, 2], shape)
    media = generate(model, [PROMPT] * 2, noise, [()] * 2)
    assert media.shape[2:] == (3, 32, 32)
    assert not torch.equal(media[0], media[1])
    theirs = pipeline(prompt=PROMPT, latents=noise[:1], output_type="pt", guidance_scale=1.0, **CLIP)[0]
    assert torch.equal(media[:1], theirs.float())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_finds_the_layout_by_itself(layout):
    build, shape = LAYOUTS[layout]
    model = load(build(), adapter="probed", batch_size=2, guidance_scale=1.0, **CLIP)
    assert isinstance(model, Probed)
    assert model.noise_shape == shape
    assert (model.num_steps, model.nfe_per_step) == (2, 1)
    outcome = run(best_of_n, model, RandomScore(), PROMPT, n=3)
    assert outcome.best.media.shape[1:] == (3, 32, 32)
    assert outcome.best.media.shape[0] > 1
    assert outcome.ledger.spent.nfe == 6


def test_latents_that_do_not_count_are_found_out():
    """As a black box such a pipeline can be searched all the same: the noise also seeds its generator."""
    with pytest.raises(ValueError, match="ignores its `latents`"):
        Probed(tiny_video.ltx_condition(), batch_size=1, guidance_scale=1.0, **CLIP)
    model = BlackBox(tiny_video.ltx_condition(), (192, 8), guidance_scale=1.0, **CLIP)
    media = generate(model, [PROMPT] * 2, randn([1, 2], (192, 8)), [()] * 2)
    assert not torch.equal(media[0], media[1])

    def deaf(prompts, noise):
        return torch.full((len(noise), 5, 3, 4, 4), 0.5)

    with pytest.raises(ValueError, match="ignores `latents`"):
        BlackBox(deaf, (192, 8))


@pytest.mark.parametrize("channels", [2, 4])
def test_clips_of_any_layout_become_frames_first(channels):
    clips = torch.rand(2, 5, 3, 6, 8)
    given = clips.numpy() if channels == 2 else clips.movedim(2, 4).numpy()
    if channels == 2:
        assert torch.equal(to_media(clips), clips)
    else:
        assert torch.equal(to_media(given), clips)
