from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

from gensearch import registry
from gensearch.core.noise import randn
from gensearch.core.sampling import again, generate
from gensearch.engine.run import run
from gensearch.models.chunks.dense_attention import dense_attention
from gensearch.models.load import load
from gensearch.models.names import embedded
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.shapes import clips, world
from gensearch.shapes.judge import ShapesJudge
from gensearch.shapes.tracker import ShapesTracker
from gensearch.shapes.train.judges import clip_motion

WEIGHTS = Path(world.__file__).parent / "weights"
STARS = "a photo of two red stars"


def test_the_shipped_set_stays_small_and_says_nothing_of_where_it_was_made():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 85e6
    assert {path.suffix for path in files} <= {".jinja", ".json", ".safetensors", ".md"}
    assert not [path for path in files if path.suffix == ".json" and "/work" in path.read_text()]
    assert all((folder / "README.md").is_file() for folder in WEIGHTS.iterdir())


@pytest.mark.parametrize("name", ["shapes/sd", "shapes/turbo"])
def test_one_sample_is_the_pipelines_own_picture_bit_for_bit(name):
    model: Any = load(name, batch_size=1)
    noise = randn([5], model.noise_shape)
    with torch.no_grad():
        ours = generate(model, [STARS], noise, [(("gaussian", 5),)])
        theirs = model.pipeline(
            STARS,
            latents=noise,
            num_inference_steps=model.settings["steps"],
            guidance_scale=model.settings["guidance_scale"],
            output_type="pt",
        ).images
    assert torch.equal(ours, theirs)


def test_a_winner_made_alone_has_the_bits_it_had_in_the_search_with_two_threads_as_well():
    model: Any = load("shapes/turbo")
    torch.set_num_threads(2)
    try:
        best = run(best_of_n, model, registry.verifier("shapes/clip"), STARS, compute=16, seed=3).best
        with torch.no_grad():
            made = again(model, STARS, randn([best.recipe[0][1]], model.noise_shape), best.recipe, best.sizes)
    finally:
        torch.set_num_threads(1)
    assert best.sizes == (16,)
    assert torch.equal(made[0], best.media)


@pytest.mark.parametrize("name", ["shapes/clip", "shapes/clip-holdout"])
def test_the_clips_prefer_true_prompts_to_near_ones(name):
    clip = registry.verifier(name)
    lines = world.benchmark(8)
    rng = np.random.default_rng(4)
    pixels = np.stack([np.asarray(world.render(world.scene_for(line, rng))) for line in lines])
    scenes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    prompts = [line["prompt"] for line in lines]
    with torch.no_grad():
        own = clip(scenes, prompts).total
        other = clip(scenes, prompts[1:] + prompts[:1]).total
    assert ShapesJudge()(scenes, prompts).total.mean() > 0.97
    assert (own > other).float().mean() > 0.85


@pytest.mark.slow
def test_the_clip_of_motion_prefers_true_prompts_to_near_ones():
    """93 % of near misses score below the prompt; of some forty of clips and beginnings at least four fifths."""
    verifier, rng = registry.verifier("shapes/clip-motion"), np.random.default_rng(4)
    lines = clips.benchmark()[::6]
    drawn = [clips.clip_for(line, rng) for line in lines]
    others = [clip_motion.near_miss(rng, line) for line in lines]
    media = torch.from_numpy(np.stack([clips.draw(one) for one in drawn])).permute(0, 1, 4, 2, 3) / 255
    exact, right, asked = ShapesTracker(), 0, 0
    for length in (5, 13):
        own, other = ([line["prompt"] for line in said] for said in (lines, others))
        with torch.no_grad():
            better = verifier(media[:, :length], own).total > verifier(media[:, :length], other).total
        false = exact(media[:, :length], other, progress=length / 13).total == 0
        right, asked = right + int((better & false).sum()), asked + int(false.sum())
    assert asked > 30
    assert right / asked > 0.8


@pytest.mark.slow
def test_the_token_model_plans_what_was_asked_and_draws_it():
    """By lot a single shape in one of eight colours is right in one of 64 pictures; 12 of 24 are far beyond that."""
    model: Any = load("shapes/janus", batch_size=8)
    pairs = [(color, shape) for color in world.COLORS for shape in ("circle", "ring", "triangle")]
    prompts = [f"a photo of {'an' if color == 'orange' else 'a'} {color} {shape}" for color, shape in pairs]
    with torch.no_grad():
        noise = randn(range(24), model.noise_shape)
        media = generate(model, prompts, noise, [(("gaussian", seed),) for seed in range(24)])
        plans = model.trace(model.start(prompts[:8], noise[:8])).text
    words = [model.write(row).split()[:2] for row in plans.tolist()]
    kept = sum(word in prompt.split() for prompt, said in zip(prompts, words, strict=False) for word in said)
    assert kept >= 12, "of 16 colours and shapes; pairs that are held out are planned wrongly at times"
    assert ShapesJudge()(media, prompts).total.mean() >= 0.5


@pytest.mark.slow
def test_the_video_autoencoder_keeps_most_clips_right():
    """0.93 of 128 clips; of 24 at least three quarters, which is three standard errors less."""
    vae = AutoencoderKLWan.from_pretrained(WEIGHTS / "video" / "vae", torch_dtype=torch.float32, use_safetensors=True)
    lines, rng = clips.benchmark(6), np.random.default_rng(4)
    frames = np.stack([clips.draw(clips.clip_for(line, rng)) for line in lines])
    x = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        y = torch.cat([vae.decode(vae.encode(rows).latent_dist.mode()).sample for rows in x.split(8)])
    seen = (y / 2 + 0.5).clamp(0, 1).transpose(1, 2)
    prompts = [line["prompt"] for line in lines]
    judge = ShapesTracker()
    assert judge(seen[:, :1], prompts, progress=0.25).total.mean() > 0.9
    assert judge(seen, prompts).total.mean() >= 3 / 4


def test_a_clip_is_the_video_pipelines_own_bit_for_bit():
    model: Any = load("shapes/video", batch_size=1)
    prompt, (first, *others) = "a red star moving fast to the left", randn(range(5, 9), model.noise_shape).split(1)
    state = model.start([prompt], first)
    for noise in others:
        state = model.advance(state, noise)
    settings = model.settings
    with torch.no_grad(), dense_attention(torch.device("cpu"), {}):
        theirs = model.pipeline(
            prompt,
            latents=torch.cat([first, *others], 2),
            num_inference_steps=settings["steps"],
            guidance_scale=settings["guidance_scale"],
            max_sequence_length=settings["max_sequence_length"],
            height=64,
            width=64,
            num_frames=clips.FRAMES,
            output_type="pt",
        ).frames
    assert torch.equal(model.render(state), theirs)


@pytest.mark.slow
def test_the_video_model_shows_what_was_asked_and_other_prompts_do_not():
    model: Any = load("shapes/video")
    lines = [clips.sample(np.random.default_rng((3, number)), "motion")[0] for number in range(24)]
    prompts = [line["prompt"] for line in lines]
    noise = randn(range(24), model.noise_shape)
    with torch.no_grad():
        media = generate(model, prompts, noise, [(("gaussian", seed),) for seed in range(24)])
    judge = ShapesTracker()
    assert judge(media, prompts).total.mean() >= 0.5, (
        "0.78 of clips of one object that moves, less three standard errors"
    )
    assert judge(media, prompts[1:] + prompts[:1]).total.mean() <= 0.05


def test_every_embedded_model_is_found_by_name():
    assert {"shapes/janus", "shapes/sd", "shapes/turbo", "shapes/video"} <= set(embedded())
