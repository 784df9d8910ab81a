from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from gensearch.core.noise import randn
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.models.black_box import BlackBox
from gensearch.models.media import to_media
from gensearch.models.pipelines import generators
from tests.builders import tiny_dit
from tests.builders.tiny import LENGTH, stable_diffusion
from tests.builders.tiny_dit import SIZE

SHAPE = (3, 4, 4)


def paint(prompts, noise):
    return noise.sigmoid() * torch.tensor([len(p) / 100 for p in prompts]).view(-1, 1, 1, 1)


def test_a_callable_is_called_in_physical_batches_and_nearly_full_ones_are_filled():
    sizes = []

    def watched(prompts, noise):
        sizes.append((len(prompts), len(noise)))
        return paint(prompts, noise)

    model = BlackBox(watched, SHAPE, batch_size=8)
    sizes.clear()
    for rows, expected in ((5, [4, 1]), (7, [8])):
        prompts, noise = ["a" * row for row in range(1, rows + 1)], randn(range(rows), SHAPE)
        assert torch.equal(generate(model, prompts, noise, [()] * rows), paint(prompts, noise))
        assert sizes == [(size, size) for size in expected]
        sizes.clear()
    assert (model.name, price(model).nfe, model.stochastic) == ("watched", 1, False)


def test_the_declared_price_is_charged():
    assert price(BlackBox(paint, SHAPE, nfe=7)).nfe == 7


def test_ignored_noise_is_refused():
    with pytest.raises(ValueError, match="ignores `latents`"):
        BlackBox(lambda prompts, noise: torch.full((len(noise), *SHAPE), 0.5), SHAPE, batch_size=2)


def test_noise_that_reaches_only_some_rows_is_refused():
    def half(prompts, noise):
        return torch.stack([noise[0], torch.zeros(SHAPE)])

    with pytest.raises(ValueError, match="ignores `latents`"):
        BlackBox(half, SHAPE, batch_size=2)


def test_randomness_of_its_own_is_refused():
    own = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="another picture for the same noise"):
        BlackBox(lambda prompts, noise: noise + torch.rand(noise.shape, generator=own), SHAPE)


def test_wrong_noise_and_another_step_are_refused():
    model = BlackBox(paint, SHAPE)
    with pytest.raises(ValueError, match=r"takes noise of shape \(3, 4, 4\), not \(3, 5, 4\)"):
        model.start(["a"], torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="no step to advance"):
        model.advance(model.start(["a"], torch.zeros(1, *SHAPE)))


def test_a_pipeline_equals_its_plain_call_and_its_passes_are_measured():
    pipeline = stable_diffusion()
    settings: dict[str, Any] = {**SIZE, "num_inference_steps": 3}
    model = BlackBox(pipeline, (4, 8, 8), batch_size=2, **settings)
    noise = randn([1, 2], (4, 8, 8))
    plain = pipeline(prompt=["a cat"] * 2, latents=noise, output_type="pt", **settings)[0]
    state = model.start(["a cat"] * 2, noise)
    assert torch.equal(model.render(state), plain)
    alone = pipeline(prompt=["a cat"], latents=noise[1:], output_type="pt", **settings)[0]
    assert torch.equal(model.render(model.start(["a cat"], noise[1:])), alone)
    assert (model.nfe_per_step, model.num_steps, bool(state.done.all())) == (6, 1, True)
    assert model.fingerprint()["settings"]["num_inference_steps"] == "3"


def test_stochastic_samplers_draw_from_the_noise_itself():
    model = BlackBox(stable_diffusion(DDIMScheduler()), (4, 8, 8), batch_size=2, eta=1.0, num_inference_steps=3, **SIZE)
    noise = randn([1, 2], (4, 8, 8))
    media = model.render(model.start(["a cat"] * 2, noise))
    assert torch.equal(model.render(model.start(["a cat"] * 2, noise.flip(0))).flip(0), media)
    first, second, again = (g.initial_seed() for g in generators(noise[[0, 1, 0]]))
    assert first == again != second


def test_a_sampler_that_takes_no_generator_is_refused():
    pipeline = tiny_dit.flux(stochastic_sampling=True)
    with pytest.raises(ValueError, match="draws random numbers of its own"):
        BlackBox(pipeline, (16, 16), num_inference_steps=3, max_sequence_length=LENGTH, **SIZE)


def test_settings_are_only_for_pipelines():
    with pytest.raises(ValueError, match="settings guidance_scale are for pipelines"):
        BlackBox(paint, SHAPE, guidance_scale=2.0)


@pytest.mark.parametrize(
    "form",
    [
        lambda a: a,
        list,
        lambda a: a.astype(np.float32) / 255,
        lambda a: [Image.fromarray(x) for x in a],
        lambda a: torch.from_numpy(a).permute(0, 3, 1, 2) / 255,
        lambda a: list(torch.from_numpy(a).permute(0, 3, 1, 2) / 255),
    ],
    ids=["uint8", "list of arrays", "floats", "pil", "tensor", "list of tensors"],
)
def test_pictures_of_all_forms_become_one(form):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    media = to_media(form(pixels))
    assert media.dtype == torch.float32
    assert media.shape == (2, 3, 5, 4)
    assert torch.allclose(media[1, 2, 4, 0] * 255, torch.tensor(float(pixels[1, 4, 0, 2])))


def test_clips_keep_their_frames():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 5, 4, 3), dtype=np.uint8)
    media = to_media([[Image.fromarray(frame) for frame in clip] for clip in pixels])
    assert media.shape == (2, 3, 3, 5, 4)
    assert torch.equal(media, to_media(pixels))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.int16])
def test_integers_count_to_255(dtype):
    pixels = torch.full((2, 3, 5, 4), 200).to(dtype)
    for form in (pixels, list(pixels), pixels.numpy(), pixels.movedim(1, -1), pixels.movedim(1, -1).numpy()):
        media = to_media(form)
        assert media.shape == (2, 3, 5, 4)
        assert torch.equal(media, torch.full((2, 3, 5, 4), 200 / 255))


def test_channels_go_to_their_place():
    pixels = randn([1, 2], (5, 4, 3))
    assert torch.equal(to_media(pixels), pixels.permute(0, 3, 1, 2))
    clips = randn([1, 2], (6, 5, 4, 3))
    assert torch.equal(to_media(clips), clips.permute(0, 1, 4, 2, 3))
    both = randn([1, 2], (3, 5, 3))
    assert torch.equal(to_media(both), both)
    assert torch.equal(to_media(both.numpy()), both.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        ("picture.png", TypeError, "cannot read media from str"),
        (Image.new("RGB", (4, 4)), TypeError, "cannot read media from Image"),
        ([], TypeError, "cannot read media from list"),
        (torch.zeros(2, 4, 5, 5), ValueError, r"media of shape \(2, 4, 5, 5\) are neither pictures"),
        (torch.zeros(3, 5, 5), ValueError, r"media of shape \(3, 5, 5\) are neither pictures"),
        (np.zeros((2, 5, 5), np.uint8), ValueError, r"media of shape \(2, 5, 5\) are neither pictures"),
        (torch.ones(2, 3, 5, 5, dtype=torch.bool), TypeError, "media of torch.bool are no pixels"),
    ],
)
def test_other_media_are_refused(made, error, message):
    with pytest.raises(error, match=message):
        to_media(made)


def test_the_fingerprint_names_libraries_and_switches(monkeypatch):
    model = BlackBox(stable_diffusion(), (4, 8, 8), num_inference_steps=1, **SIZE)
    found = model.fingerprint()
    assert set(found["versions"]) == {"torch", "diffusers", "transformers", "open_clip_torch"}
    assert found["attention"] == {"unet": ["AttnProcessor2_0"], "vae": ["AttnProcessor2_0"], "text_encoder": ["sdpa"]}
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", not torch.backends.cudnn.deterministic)
    model.pipeline.unet.set_attn_processor(AttnProcessor())
    torch.backends.cuda.matmul.allow_tf32 = True
    now = model.fingerprint()
    torch.backends.cuda.matmul.allow_tf32 = False
    assert {key for key in found if found[key] != now[key]} == {"backends", "attention"}
    assert {key for key in found["backends"] if found["backends"][key] != now["backends"][key]} == {
        "cuda_matmul",
        "cudnn_deterministic",
    }
    assert now["attention"]["unet"] == ["AttnProcessor"]
