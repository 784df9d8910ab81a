"""What shapes/video is trained as is what AnyFlowFARPipeline runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AnyFlowFARPipeline, AutoencoderKLWan, FlowMapEulerDiscreteScheduler
from diffusers.models.transformers.transformer_anyflow_far import AnyFlowCausalAttnProcessor

from gensearch.shapes import clips
from gensearch.shapes.train.clips import video, video_map, video_network, video_vae
from gensearch.shapes.train.clips.video_network import SIDE
from gensearch.shapes.train.clips.video_vae import CHANNELS

PROMPTS = ["a red star moving fast to the left and a blue ring standing still", "a pink heart appearing"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning"),
    pytest.mark.timeout(600),
]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def networks():
    with torch.random.fork_rng():
        return video_network.build().eval()


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoencoderKLWan(**video_vae.CONFIG).eval()
    with torch.no_grad():
        video_vae.standardise(model, model.encode(video_vae.movies(video_vae.batch(2, 13, 1, 0))).latent_dist.mean)
    return model


@pytest.fixture(scope="module")
def pipe(networks, vae, tmp_path_factory):
    """The exported pipeline, and the networks with the weights that it holds."""
    folder = tmp_path_factory.mktemp("model")
    video.export(networks, vae, folder)
    networks.float()
    vae.float()
    loaded = AnyFlowFARPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded, video.restore(folder).eval()


# --- attention


@pytest.mark.parametrize("frames", [1, 4])
def test_dense_attention_is_the_classes_own(networks, frames):
    x, clean = randn(2, frames, CHANNELS, SIDE, SIDE), randn(2, frames, CHANNELS, SIDE, SIDE, seed=1)
    t = torch.linspace(0.2, 1, 2 * frames).view(2, frames)
    call = {
        "hidden_states": x,
        "timestep": 1000 * t,
        "r_timestep": 500 * t,
        "encoder_hidden_states": networks.read(video.token_ids(PROMPTS)),
        "chunk_partition": [1] * frames,
        "return_dict": False,
    }
    if frames > 1:
        call |= {"clean_hidden_states": clean, "clean_timestep": torch.zeros_like(t)}
    own = type(networks.transformer).from_config(networks.transformer.config).eval()
    own.load_state_dict(networks.transformer.state_dict())
    assert all(isinstance(block.attn1.processor, AnyFlowCausalAttnProcessor) for block in own.blocks)
    mask = video_network.causal_mask(networks.transformer, frames, frames > 1)
    with torch.no_grad():
        ours = networks.transformer(attention_mask=mask, **call)[0]
        theirs = own(**call)[0]
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_a_frame_attends_to_itself_and_the_clean_ones_before_it_only(networks):
    x, clean = randn(1, 4, CHANNELS, SIDE, SIDE), randn(1, 4, CHANNELS, SIDE, SIDE, seed=1)
    t, words = torch.full((1, 4), 0.7), networks.read(video.token_ids(PROMPTS[:1]))
    with torch.no_grad():
        before = networks(x, t, t, words, clean)
        for frame in range(4):
            other = clean.clone()
            other[:, frame] += 1
            moved = (networks(x, t, t, words, other) != before).flatten(2).any(2)[0]
            assert moved.tolist() == [k > frame for k in range(4)]
            other = x.clone()
            other[:, frame] += 1
            moved = (networks(other, t, t, words, clean) != before).flatten(2).any(2)[0]
            assert moved.tolist() == [k == frame for k in range(4)]


def test_every_parameter_but_those_of_compressed_frames_learns():
    with torch.random.fork_rng():
        networks = video_network.build()
    data = encoded(4, 4)
    video.flow_loss(networks, data, 2, torch.Generator().manual_seed(0)).backward()
    idle = {name for name, p in networks.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"transformer.far_patch_embedding.weight", "transformer.far_patch_embedding.bias"}


def encoded(count: int, frames: int) -> video.Encoded:
    shape = (count, frames, CHANNELS, SIDE, SIDE)
    return video.Encoded(
        randn(*shape).half(), 0.1 * randn(*shape).abs().half(), video.token_ids(PROMPTS * (count // 2))
    )


# --- the pipeline


@torch.no_grad()
def sample(networks, noise: torch.Tensor, ids: torch.Tensor, steps: int) -> torch.Tensor:
    """The pipeline's loop with the training pass: latents [b, 4, 16, 8, 8] from noise of the same shape."""
    words = networks.read(ids)
    times = video.shift(torch.linspace(1, 0, steps + 1))
    clean = torch.zeros_like(noise)
    for frame in range(4):
        x = noise[:, frame : frame + 1]
        for t, r in zip(times[:-1], times[1:], strict=True):
            rows = torch.cat([clean[:, :frame], x], 1)
            now, then = torch.full(rows.shape[:2], float(t)), torch.full(rows.shape[:2], float(r))
            velocity = networks(rows, now, then, words, torch.zeros_like(rows) + rows if frame else None)[:, -1:]
            x = x - (t - r) * velocity
        clean[:, frame : frame + 1] = x
    return clean


def test_the_pipeline_runs_what_was_trained(pipe):
    loaded, networks = pipe
    noise = randn(2, 4, CHANNELS, SIDE, SIDE, seed=3)
    ours = sample(networks, noise, video.token_ids(PROMPTS), 4)
    theirs = loaded(
        PROMPTS,
        latents=noise.transpose(1, 2),
        height=64,
        width=64,
        num_frames=clips.FRAMES,
        num_inference_steps=4,
        max_sequence_length=video_network.WORDS,
        output_type="latent",
    ).frames
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=0, atol=2e-4)


def test_prompts_are_read_as_in_training(pipe):
    loaded, networks = pipe
    with torch.no_grad():
        theirs, _ = loaded.encode_prompt(PROMPTS, None, False, max_sequence_length=video_network.WORDS)
        ours = networks.read(video.token_ids(PROMPTS))
    assert ours.abs().sum(2).eq(0).any()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_encoded_clips_are_those_of_the_pipeline(pipe):
    loaded, _ = pipe
    films, ids = video.shown(clips.FRAMES, 3, 5)
    part = video.encoded(loaded.vae, films)
    line, clip = clips.sample(np.random.default_rng((11, clips.FRAMES, 3)))
    drawn = torch.from_numpy(clips.draw(clip)).permute(0, 3, 1, 2)[None] / 255
    with torch.no_grad():
        theirs = loaded.encode_video(drawn, 64, 64)
    torch.testing.assert_close(part["mean"][:1].float(), theirs, rtol=0, atol=5e-3)
    assert torch.equal(ids[:1], video.token_ids([line["prompt"]]))
    assert part["std"].shape == part["mean"].shape == (2, 4, CHANNELS, SIDE, SIDE)
    first = video.encoded(loaded.vae, video.shown(1, 7, 8)[0])["mean"]
    assert first.shape == (1, 1, CHANNELS, SIDE, SIDE)


def test_parts_are_made_once(vae, tmp_path):
    first = video.encode(vae, 3, 1, tmp_path, size=2)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 2
    again = video.encode(vae, 3, 1, tmp_path, size=2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first.ids) == 3


def test_every_prompt_fits():
    rng = np.random.default_rng(1)
    prompts = [clips.sample(rng)[0]["prompt"] for _ in range(300)] + [line["prompt"] for line in clips.benchmark()]
    prompts.append("an orange triangle moving slowly to the right and an orange diamond moving slowly to the right")
    tokens = video_network.words()
    ids = video.token_ids(prompts)
    assert ids.shape[1] == video_network.WORDS
    assert not (ids == tokens.unk_token_id).any()
    assert (ids == tokens.eos_token_id).sum(1).eq(1).all()


# --- the objectives


def test_the_true_velocity_takes_the_samplers_step_to_the_same_path():
    z, t = randn(2, 4, CHANNELS, SIDE, SIDE), torch.full((2, 4), 0.8)
    x, velocity = video.noised(z, t, torch.Generator().manual_seed(5))
    lower, again = video.noised(z, t / 2, torch.Generator().manual_seed(5))
    assert torch.equal(velocity, again)
    scheduler = FlowMapEulerDiscreteScheduler(shift=video.SHIFT)
    scheduler.set_timesteps(4)
    stepped = scheduler.step(velocity, torch.tensor(800.0), x, torch.tensor(400.0)).prev_sample
    torch.testing.assert_close(stepped, lower, rtol=0, atol=1e-5)


def test_times_are_spread_over_the_batch_and_frames_are_independent():
    t = video.times(64, 4, torch.Generator().manual_seed(0))
    edges = video.shift(torch.linspace(0, 1, 65))
    for frame in t.T:
        assert torch.histogram(frame, edges).hist.eq(1).all()
    assert torch.corrcoef(t.T).fill_diagonal_(0).abs().max() < 4 / 8


def test_jumps_are_the_samplers_steps():
    t, r = video_map.jumps(400, 4, torch.Generator().manual_seed(0))
    pairs = set()
    scheduler = FlowMapEulerDiscreteScheduler(shift=video.SHIFT)
    for steps in set(video_map.SCHEDULES):
        scheduler.set_timesteps(steps)
        sigmas = scheduler.sigmas.float().tolist()
        pairs |= {(round(a, 4), round(b, 4)) for a, b in zip(sigmas[:-1], sigmas[1:], strict=True)}
    found = {(round(a, 4), round(b, 4)) for a, b in zip(t.flatten().tolist(), r.flatten().tolist(), strict=True)}
    assert found == pairs


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_target_is_the_mean_guided_velocity_of_the_path(guidance):
    """For a velocity a t, n Euler steps from t to r have the mean a (t + r + (t - r) / n) / 2."""
    conditional, unconditional = 3.0, 1.0

    def teacher(x, t, r, words, clean):
        assert torch.equal(t, r)
        return (t * torch.where(words[:, 0, :1] > 0, conditional, unconditional))[..., None, None, None].expand_as(x)

    x, t = randn(2, 4, CHANNELS, SIDE, SIDE), torch.tensor([[0.9, 0.6, 1.0, 0.3]] * 2)
    r = t / 3
    words = torch.ones(2, 20, 8)
    network: Any = teacher
    mean = video_map.path(network, x, t, r, words, 0 * words, None, guidance)
    mixed = unconditional + guidance * (conditional - unconditional)
    expected = (t + r + (t - r) / video_map.SUBSTEPS) / 2 * mixed
    torch.testing.assert_close(mean, expected[..., None, None, None].expand_as(x), rtol=1e-4, atol=1e-4)


def test_pixels_of_objects_count_more():
    clip = clips.clip_for(clips.parse("a yellow star standing still"), np.random.default_rng(0))
    drawn, middle = clips.draw(clip, [0]), clip.paths[0][0]
    x = video_vae.movies(torch.from_numpy(drawn)[None])
    figure, background = torch.zeros_like(x), torch.zeros_like(x)
    assert middle is not None
    figure[..., int(middle[1]), int(middle[0])] = background[..., 1, 1] = 0.1
    assert video_vae.distance(x, x) == 0
    one, other = (video_vae.distance(x, x + change) for change in (figure, background))
    torch.testing.assert_close(one, video_vae.OBJECT * other)


@pytest.mark.slow
def test_the_decoder_learns_alone(tmp_path):
    with torch.random.fork_rng():
        video_vae.train(tmp_path, name="video_vae", steps=1, size=1, lr=1e-3, beta=1e-4)
        folder = tmp_path / "video_vae" / "model"
        before = AutoencoderKLWan.from_pretrained(folder).state_dict()
        video_vae.train_decoder(tmp_path, name="video_decoder", steps=2, size=1, lr=1e-2)
    after = AutoencoderKLWan.from_pretrained(folder)
    moved = {name.split(".")[0] for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"decoder", "post_quant_conv"}
    assert after.config.latents_mean != [0.0] * CHANNELS


@pytest.mark.slow
def test_the_recipes_make_a_pipeline_that_loads(tmp_path):
    with torch.random.fork_rng():
        video_vae.train(tmp_path, name="video_vae", steps=2, size=1, lr=1e-3, beta=1e-4)
        video_vae.train_decoder(tmp_path, name="video_decoder", steps=1, size=1, lr=1e-3)
        video.train(tmp_path, name="video", films=2, stills=2, steps=2, size=1, lr=1e-3)
        video_map.train(tmp_path, name="video_map", films=2, stills=2, steps=2, size=1, lr=1e-3, guidance=2.0)
    folder = tmp_path / "video_map" / "model"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
    assert not [path for path in files if path.suffix == ".json" and str(tmp_path) in path.read_text()]
    loaded = AnyFlowFARPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    frames = loaded(
        PROMPTS[0],
        height=64,
        width=64,
        num_frames=clips.FRAMES,
        num_inference_steps=1,
        max_sequence_length=video_network.WORDS,
        output_type="pt",
    ).frames
    assert frames.shape == (1, clips.FRAMES, 3, 64, 64)
    assert frames.isfinite().all()
