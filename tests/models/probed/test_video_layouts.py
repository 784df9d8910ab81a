"""Full-sequence video pipelines as they are: every layout of latents and media, and noise that must count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import Kandinsky5I2VPipeline

from gensearch import load
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.engine.run import run
from gensearch.models.black_box import BlackBox
from gensearch.models.clip_decoder import clip_by_clip
from gensearch.models.media import to_media
from gensearch.models.pipelines import as_latents
from gensearch.models.probed.model import Probed
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing.witness import counting
from tests.builders import tiny_dit, tiny_video, tiny_video_more
from tests.builders.tiny import LENGTH
from verifiers.controls.random import RandomScore

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")  # Mochi in fp32 away from a GPU

PROMPT = "a photo of a red star"
CLIP: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "max_sequence_length": LENGTH,
    "num_inference_steps": 2,
}


def picture_room() -> Any:
    """As published: behind the channels of the noise there is room for a picture to begin with, and its mask."""
    return tiny_video_more.kandinsky(visual_cond=True)


HUNYUAN, MOCHI, KANDINSKY = (
    {**settings, "num_inference_steps": 2}
    for settings in (tiny_video_more.HUNYUAN, tiny_video_more.MOCHI, tiny_video_more.KANDINSKY)
)
# pipeline, how it lays out one sample's latents, settings of a short call
LAYOUTS: dict[str, tuple[Callable[[], Any], tuple[int, ...], dict[str, Any]]] = {
    "channels, frames": (tiny_dit.wan, (4, 2, 4, 4), CLIP),
    "frames, channels": (tiny_video.cogvideox, (2, 4, 4, 4), CLIP),
    "packed tokens": (tiny_video.ltx, (192, 8), CLIP),
    "guidance as an input": (tiny_video_more.hunyuan, (4, 2, 4, 4), HUNYUAN),
    "six frames for one": (tiny_video_more.mochi, (12, 2, 4, 2), MOCHI),
    "channels last": (tiny_video_more.kandinsky, (2, 4, 4, 4), KANDINSKY),
    "channels last, and room for a picture": (picture_room, (2, 4, 4, 4), KANDINSKY),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_black_box_takes_latents_as_the_pipeline_lays_them_out(layout):
    build, shape, settings = LAYOUTS[layout]
    pipeline = build()
    model = BlackBox(pipeline, shape, guidance_scale=1.0, **settings)
    noise = randn([1, 2], shape)
    media = generate(model, [PROMPT] * 2, noise, [()] * 2)
    assert media.shape[2:] == (3, settings["height"], settings["width"])
    assert not torch.equal(media[0], media[1])
    assert torch.equal(media[:1], plainly(pipeline, noise[:1], guidance_scale=1.0, **settings))
    assert torch.equal(noise, randn([1, 2], shape))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_finds_the_layout_by_itself(layout):
    build, shape, settings = LAYOUTS[layout]
    model = load(build(), adapter="probed", batch_size=2, guidance_scale=1.0, **settings)
    assert isinstance(model, Probed)
    assert model.noise_shape == shape
    assert (model.num_steps, model.nfe_per_step) == (2, 1)
    with counting({"nfe": model.pipeline.transformer}) as seen:
        outcome = run(best_of_n, model, RandomScore(), PROMPT, n=3)
    assert outcome.best.media.shape[1:] == (3, settings["height"], settings["width"])
    assert outcome.best.media.shape[0] > 1
    assert outcome.ledger.spent.nfe == 6
    assert seen["nfe"] == 6 + outcome.ledger.padding.nfe


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_makes_the_pipelines_own_clip_and_keeps_what_the_network_saw(layout):
    build, shape, settings = LAYOUTS[layout]
    pipeline = build()
    model = Probed(pipeline, batch_size=1, guidance_scale=3.0, **settings)
    assert model.nfe_per_step == (1 if layout == "guidance as an input" else 2)
    noise, given = randn([3], shape), []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["hidden_states"][:1].clone()), with_kwargs=True
    )
    first = model.start([PROMPT], noise)
    last = model.advance(first, randn([4], shape) if model.stochastic else None)
    hook.remove()
    assert torch.equal(first.x, noise)
    seen = given[-1]
    assert torch.equal(last.x, seen[..., : shape[-1]] if layout.endswith("picture") else seen.view_as(last.x))
    assert torch.equal(model.render(last), plainly(pipeline, noise, guidance_scale=3.0, **settings))


@pytest.mark.parametrize("layout", ["channels, frames", "guidance as an input"])
def test_one_negative_prompt_is_for_every_row(layout):
    build, shape, settings = LAYOUTS[layout]
    scale = "true_cfg_scale" if build is tiny_video_more.hunyuan else "guidance_scale"
    settings, noise = {**settings, scale: 5.0}, randn([1, 2], shape)
    pipeline = build()
    theirs = plainly(pipeline, noise, prompt=[PROMPT] * 2, negative_prompt=["two blue cat"] * 2, **settings)
    whole = BlackBox(pipeline, shape, batch_size=2, negative_prompt="two blue cat", **settings)
    stepwise = Probed(pipeline, batch_size=2, negative_prompt="two blue cat", **settings)
    assert whole.nfe_per_step == stepwise.nfe_per_step * stepwise.num_steps == 4
    for model in (whole, stepwise):
        assert torch.equal(generate(model, [PROMPT] * 2, noise, [()] * 2), theirs)


def plainly(pipeline: Any, latents: torch.Tensor, prompt: Any = PROMPT, **settings: Any) -> torch.Tensor:
    """The pipeline's own call, which may write over what it is given."""
    latents = latents.clone()
    if getattr(pipeline.transformer, "visual_cond", False):
        latents = torch.cat([latents, torch.zeros_like(latents), torch.zeros_like(latents[..., :1])], -1)
    with clip_by_clip(pipeline.vae):
        return to_media(pipeline(prompt=prompt, latents=latents, output_type="pt", **settings)[0])


def test_a_pipeline_that_is_given_a_picture_is_given_no_empty_one():
    """With it, the clip would be the same for every picture."""
    pipeline, noise = Kandinsky5I2VPipeline(**picture_room().components), randn([1], (2, 4, 4, 4))
    assert torch.equal(as_latents(pipeline, noise, noise.dtype), noise)
    assert as_latents(picture_room(), noise, noise.dtype).shape == (1, 2, 4, 4, 9)


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
