from __future__ import annotations

import numpy as np
import pytest
import torch

from gensearch.shapes import world
from gensearch.shapes.train.judges import clip
from gensearch.shapes.train.pictures import data, sd, turbo, vae


def test_the_vocabulary_covers_the_grammar():
    rng = np.random.default_rng(1)
    prompts = [world.sample(rng)[0]["prompt"] for _ in range(300)] + [line["prompt"] for line in world.benchmark()]
    ids = data.token_ids(prompts)
    words = data.vocabulary()
    assert ids.shape[1] == data.PROMPT_LENGTH
    assert not (ids == words.index("<unk>")).any()
    assert (ids == words.index("<eos>")).sum(1).eq(1).all()


def test_standardised_latents_decode_to_the_same_pictures():
    from diffusers import AutoencoderKL

    torch.manual_seed(3)
    model = AutoencoderKL(**vae.CONFIG).eval()
    x = vae.batch(8, seed=1, step=0)
    with torch.no_grad():
        before = model.encode(x).latent_dist
        picture = model.decode(before.mode()).sample
        vae.standardise(model, before.mean)
        after = model.encode(x).latent_dist
        assert torch.allclose(model.decode(after.mode()).sample, picture, atol=1e-4)
        assert torch.allclose(after.mean.mean((0, 2, 3)), torch.zeros(16), atol=1e-4)
        assert torch.allclose(after.mean.std((0, 2, 3)), torch.ones(16), atol=1e-3)
        spread = before.mean.std((0, 2, 3))[:, None, None]
        assert torch.allclose(after.std, before.std / spread, rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_the_teachers_loop_is_the_pipelines_ddim(steps):
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    torch.manual_seed(0)
    networks = sd.build().eval()
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(**vae.CONFIG),
        text_encoder=networks.text_encoder,
        tokenizer=data.tokenizer(),
        unet=networks.unet,
        scheduler=sd.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(4))
    prompts = ["a photo of two red stars", "a photo of a ring"]
    ours = turbo.teach(networks, noise, data.token_ids(prompts), steps, guidance=3.0)
    theirs = pipe(prompts, latents=noise, num_inference_steps=steps, guidance_scale=3.0, output_type="latent").images
    assert torch.allclose(ours, theirs, atol=2e-4)


def test_clip_batches_label_their_own_prompts_and_depend_on_the_step_only():
    x, prompts, labels, weights = clip.batch(16, 3, seed=2, step=5)
    again = clip.batch(16, 3, seed=2, step=5)
    assert x.shape == (16, 3, 64, 64)
    assert x.min() >= 0
    assert x.max() <= 1
    assert torch.equal(x, again[0])
    assert prompts == again[1]
    assert labels.shape == weights.shape == (16, 64)
    assert 0.4 < labels.diagonal().mean() <= 1  # some pictures are spoilt on purpose
