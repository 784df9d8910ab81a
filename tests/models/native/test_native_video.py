"""The native loops of Wan and LTX: the pipeline's own clip, the laws of models, and searches over denoising steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from gensearch import load
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.engine.run import run
from gensearch.models.native.ltx import LTX
from gensearch.models.native.wan import Wan
from gensearch.search import SEARCHES
from gensearch.testing import ModelLaws
from tests.builders import tiny_dit, tiny_video
from tests.builders.tiny import LENGTH
from verifiers.controls.random import RandomScore

PROMPT = "a photo of a red star"
TOKENS: dict[str, Any] = {"max_sequence_length": LENGTH}
WAN: dict[str, Any] = {"height": 16, "width": 16, "num_frames": 5, **TOKENS}


def wan(steps: int = 2, guidance: float = 3.0, batch: int = 1, scheduler: Any = None) -> Wan:
    return Wan(tiny_dit.wan(scheduler), steps=steps, guidance_scale=guidance, batch_size=batch, **WAN)


def ltx(steps: int = 2, guidance: float = 3.0, batch: int = 1, **options: Any) -> LTX:
    return LTX(tiny_video.ltx(), steps=steps, guidance_scale=guidance, batch_size=batch, **tiny_video.LTX, **options)


class TestLaws(ModelLaws):
    @pytest.fixture(params=(wan, ltx), scope="class")
    @classmethod
    def model(cls, request):
        return request.param(steps=3, batch=4)

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.pipeline.transformer}


def ours(model, noise):
    with torch.no_grad():
        return generate(model, [PROMPT] * len(noise), noise, [()] * len(noise))


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("scheduler", [{"shift": 7.0}, {"shift": 3.0}], ids=str)
def test_wan_equals_the_pipelines_own_call(guidance, scheduler):
    model = wan(3, guidance, scheduler=FlowMatchEulerDiscreteScheduler(**scheduler))
    noise = randn([3], model.noise_shape)
    theirs = model.pipeline(
        PROMPT, latents=noise, num_inference_steps=3, guidance_scale=guidance, output_type="pt", **WAN
    ).frames
    made = ours(model, noise)
    assert made.shape == (1, 5, 3, 16, 16)
    assert made.std() > 0.01
    assert (made - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("rescale", [0.0, 0.5])
def test_ltx_equals_the_pipelines_own_call(guidance, rescale):
    model = ltx(3, guidance, guidance_rescale=rescale)
    noise = randn([3], model.noise_shape)
    packed = model.pipeline._pack_latents(noise)
    settings = {"guidance_scale": guidance, "guidance_rescale": rescale, "num_inference_steps": 3, **tiny_video.LTX}
    theirs = model.pipeline(PROMPT, latents=packed, output_type="pt", **settings).frames
    made = ours(model, noise)
    assert made.shape == (1, 3, 3, 32, 32)
    assert made.std() > 0.01
    assert (made - theirs).abs().max() < 1e-5


def test_a_multistep_solver_gives_way_to_euler_on_its_levels():
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    with pytest.warns(UserWarning, match="UniPCMultistepScheduler has no native step; Euler steps on its noise levels"):
        model = wan(4, scheduler=scheduler)
    scheduler.set_timesteps(4)
    assert torch.equal(model.schedule.noise, scheduler.sigmas.float())
    assert model.notes == model.fingerprint()["notes"] or list(model.notes) == model.fingerprint()["notes"]
    assert ours(model, randn([3], model.noise_shape)).isfinite().all()


def test_what_the_loop_cannot_do_is_refused():
    with pytest.raises(ValueError, match="DDIMScheduler has no native flow step; use adapter='probed'"):
        wan(scheduler=DDIMScheduler())
    pipeline = tiny_dit.wan()
    with pytest.raises(ValueError, match="6 frames are not 1 more than a multiple of 4; take 5"):
        Wan(pipeline, **{**WAN, "num_frames": 6})
    with pytest.raises(ValueError, match="use multiples of 16"):
        Wan(pipeline, **{**WAN, "height": 24})
    pipeline.register_to_config(boundary_ratio=0.9)
    with pytest.raises(ValueError, match="two transformers or timesteps per token; use adapter='probed'"):
        Wan(pipeline, **WAN)
    noisy = tiny_video.ltx()
    noisy.vae = tiny_video.ltx_vae()
    noisy.vae.register_to_config(decoder_inject_noise=(True, False, False))
    with pytest.raises(ValueError, match="draws random numbers of its own"):
        LTX(noisy, **tiny_video.LTX)


@pytest.mark.parametrize("search", ["best_of_n", "zero_order"])
def test_searches_work_on_clips(search):
    model = ltx()
    outcome = run(SEARCHES[search], model, RandomScore(), PROMPT, compute=5)
    assert outcome.best.media.shape == (3, 3, 32, 32)
    assert outcome.ledger.spent.nfe == 5 * 2 * 2


def test_they_are_loaded_for_their_pipelines():
    assert isinstance(load(tiny_dit.wan(), steps=2, **WAN), Wan)
    assert isinstance(load(tiny_video.ltx(), steps=2, **tiny_video.LTX), LTX)
