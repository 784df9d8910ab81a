"""The conformance suites on tiny pipelines of the real families, on callables, and on the embedded judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from gensearch import registry
from gensearch.core.noise import randn
from gensearch.models.black_box import BlackBox
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.models.probed.model import Probed
from gensearch.shapes import world
from gensearch.testing import ModelLaws, VerifierLaws
from tests.builders import tiny, tiny_dit


def ddim_with_eta():
    return StableDiffusion(tiny.stable_diffusion(), steps=3, guidance_scale=2.0, eta=0.7, batch_size=3)


def euler_in_one_step():
    turbo = tiny.scheduler(EulerDiscreteScheduler, timestep_spacing="trailing")
    return StableDiffusion(tiny.stable_diffusion(turbo), steps=1, guidance_scale=0.0, batch_size=2)


def euler():
    pipeline = tiny.stable_diffusion(tiny.scheduler(EulerDiscreteScheduler))
    return StableDiffusion(pipeline, steps=2, guidance_scale=3.0, batch_size=2)


def probed(family):
    build, settings = tiny_dit.FAMILIES[family]
    return Probed(build(), **settings)


def pipeline_as_a_whole():
    pipeline = tiny.stable_diffusion(DDIMScheduler(clip_sample=False))
    return BlackBox(pipeline, (4, 8, 8), batch_size=2, num_inference_steps=2, **tiny_dit.SIZE)


def paint(prompts, noise):
    return noise.sigmoid() * torch.tensor([len(prompt) / 100 for prompt in prompts]).view(-1, 1, 1, 1)


MODELS = {
    "ddim with eta": ddim_with_eta,
    "euler": euler,
    "euler in one step": euler_in_one_step,
    "probed flux": lambda: probed("flux"),
    "probed sana-sprint": lambda: probed("sana-sprint"),
    "black box around a pipeline": pipeline_as_a_whole,
    "black box around a callable": lambda: BlackBox(paint, (3, 8, 8), batch_size=3),
}

SLOW = {"euler": [pytest.mark.slow]}  # of its family one takes several steps and one is Euler, too


class TestModels(ModelLaws):
    @pytest.fixture(params=[pytest.param(name, marks=SLOW.get(name, [])) for name in MODELS], scope="class")
    @classmethod
    def model(cls, request):
        return MODELS[request.param]()

    @pytest.fixture
    def networks(self, model):
        pipeline = model.pipeline
        if pipeline is None:
            return {}
        denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
        return {"nfe": denoiser, "decoded": pipeline.vae.decoder}


class TestJudges(VerifierLaws):
    @pytest.fixture(params=["shapes/clip", "shapes/clip-holdout", "shapes/judge", "shapes/partial"])
    def verifier(self, request):
        return registry.verifier(request.param)

    @pytest.fixture
    def media(self, prompts):
        """Two pictures of what their prompts say, and two of what others say."""
        return torch.stack([drawn(prompts[i]) for i in (0, 1, 3, 2)])

    @pytest.fixture
    def ladder(self, prompts):
        noise = randn([3], (3, 64, 64))[0].mul(0.2).add(0.5).clamp(0, 1)
        return torch.stack([noise, drawn(prompts[0])]), prompts[:1] * 2


def drawn(prompt):
    """A clean picture of what a prompt says."""
    scene = world.scene_for(world.parse(prompt), np.random.default_rng(4))
    return torch.from_numpy(np.array(world.render(scene))).permute(2, 0, 1) / 255
