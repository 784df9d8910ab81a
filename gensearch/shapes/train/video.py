"""Train the flow of `shapes/video`: what moves noise to the next latent frame, given the clean ones before it.

Flow matching (Lipman et al. 2023, arXiv:2210.02747) with teacher forcing: in one pass every latent frame of a clip is
denoised at its own time while it sees the clean frames before it. Most of what a clip shows is decided by its first
frame, which alone costs an eighth of a clip: half of the steps train on first frames only. `video_map` goes on from
here.
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gensearch.shapes import clips
from gensearch.shapes.train.loop import fit
from gensearch.shapes.train.video_network import WORDS, TextToClip, build, words
from gensearch.shapes.train.video_vae import movies

SHIFT = 2.0  # towards noisy times, in training as in the sampler's schedule
UNTOLD = 0.1  # share of samples without a caption
FIRSTS = 8  # single first frames for each clip of a batch: both cost the same


class Encoded(NamedTuple):
    """Latents of clips or first frames: posterior mean and std [n, f, 16, 8, 8] in fp16 (standardised), ids [n, 20]."""

    mean: Tensor
    std: Tensor
    ids: Tensor


def token_ids(prompts: list[str]) -> Tensor:
    """[n, 20] int64."""
    return words()(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids


# --- data


def encode(vae: Any, count: int, frames: int, folder: Path, size: int = 500) -> Encoded:
    """Draw and encode the first `frames` frames of `count` training clips; parts already made are kept."""
    parts = []
    for start in range(0, count, size):
        end = min(start + size, count)
        part = folder / f"latents-{frames:02d}-{start:06d}-{end:06d}.safetensors"
        if not part.exists():
            save_file(encode_part(vae, frames, start, end), part.with_suffix(".partial"))
            os.replace(part.with_suffix(".partial"), part)
            print(f"{end} clips of {frames} frames encoded", flush=True)
        parts.append(load_file(part))
    return Encoded(**{key: torch.cat([part[key] for part in parts]) for key in Encoded._fields})


@torch.no_grad()
def encode_part(vae: Any, frames: int, start: int, end: int, size: int = 50) -> dict[str, Tensor]:
    """Clips `start` to `end`; each depends on `frames` and its own number only."""
    shape = (1, -1, 1, 1, 1)
    mean, std = (torch.tensor(values).view(shape) for values in (vae.config.latents_mean, vae.config.latents_std))
    drawn = [clips.sample(np.random.default_rng((11, frames, number))) for number in range(start, end)]
    means, stds = [], []
    for first in range(0, len(drawn), size):
        shown = [clips.draw(clip, range(frames)) for _, clip in drawn[first : first + size]]
        posterior = vae.encode(movies(shown)).latent_dist
        means.append(((posterior.mean - mean) / std).transpose(1, 2).half())
        stds.append((posterior.std / std).transpose(1, 2).half())
    ids = token_ids([line["prompt"] for line, _ in drawn])
    return {"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous(), "ids": ids}


def draw(data: Encoded, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents [size, f, 16, 8, 8], sampled from their posteriors, and their token ids, some without words."""
    rows = torch.randint(len(data.ids), (size,), generator=generator)
    z = data.mean[rows].float()
    z = z + data.std[rows].float() * torch.randn(z.shape, generator=generator)
    untold = torch.rand(size, 1, generator=generator) < UNTOLD
    return z, torch.where(untold, token_ids([""]), data.ids[rows])


def times(size: int, frames: int, generator: torch.Generator) -> Tensor:
    """Times [size, frames] in (0, 1], stratified over the batch and shifted towards noise."""
    order = torch.rand(frames, size, generator=generator).argsort(1).T
    u = (order + torch.rand(size, frames, generator=generator)) / size
    return shift(u)


def shift(u: Tensor) -> Tensor:
    """The scheduler's map of [0, 1] to times."""
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def noised(z: Tensor, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents at times t [b, f], and the velocity towards noise there."""
    noise = torch.randn(z.shape, generator=generator)
    level = t[..., None, None, None]
    return (1 - level) * z + level * noise, noise - z


def flow_loss(networks: TextToClip, data: Encoded, size: int, generator: torch.Generator) -> Tensor:
    """Mean squared error of the velocity of every frame."""
    z, ids = draw(data, size, generator)
    t = times(size, z.shape[1], generator)
    x, velocity = noised(z, t, generator)
    clean = z if z.shape[1] > 1 else None
    return (networks(x, t, t, networks.read(ids), clean) - velocity).square().mean()


# --- training


def prepare(out: Path, films: int, stills: int) -> tuple[Any, Encoded, Encoded]:
    """The autoencoder, `films` encoded clips and `stills` encoded first frames of others, kept under out/video."""
    from diffusers import AutoencoderKLWan

    (out / "video").mkdir(parents=True, exist_ok=True)
    own, shipped = out / "video_vae" / "model", files("gensearch") / "shapes" / "weights" / "video" / "vae"
    folder = own if own.is_dir() else str(shipped)
    vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True).eval()
    return vae, encode(vae, films, clips.FRAMES, out / "video"), encode(vae, stills, 1, out / "video")


def train(out: Path, *, name: str, films: int, stills: int, steps: int, size: int, lr: float) -> None:
    """Fit the flow, `size` clips or eight times as many first frames a step, on out/video_vae/model if it is there."""
    networks = build()
    vae, moving, still = prepare(out, films, stills)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step % 2:
            return flow_loss(networks, moving, size, generator)
        return flow_loss(networks, still, FIRSTS * size, generator)

    fit(networks, loss, folder=out / name, steps=steps, lr=lr, save_every=200, matrices=hidden(networks))
    export(networks, vae, out / name / "model")


def hidden(networks: TextToClip) -> list[Tensor]:
    """The matrices inside the blocks of both networks."""
    blocks = (networks.transformer.blocks, networks.text_encoder.encoder.block)
    return [m.weight for part in blocks for m in part.modules() if isinstance(m, nn.Linear)]


def restore(folder: Path) -> TextToClip:
    """The networks of an exported model, in fp32."""
    networks = build()
    for part, file in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")):
        state = {name: value.float() for name, value in load_file(folder / part / f"{file}.safetensors").items()}
        missing = getattr(networks, part).load_state_dict(state, strict=False)
        tied = {"encoder.embed_tokens.weight", "shared.weight"}
        if missing.unexpected_keys or set(missing.missing_keys) - tied:
            raise ValueError(f"{folder / part} holds another model: {missing}; train it again from its recipe")
    return networks


def export(networks: TextToClip, vae: Any, folder: Path) -> None:
    """Write a folder that AnyFlowFARPipeline loads, in fp16 safetensors, with the call settings it was made for."""
    from diffusers import AnyFlowFARPipeline, FlowMapEulerDiscreteScheduler

    pipeline = AnyFlowFARPipeline(
        tokenizer=words(),
        text_encoder=networks.text_encoder,
        transformer=networks.transformer,
        vae=vae,
        scheduler=FlowMapEulerDiscreteScheduler(shift=SHIFT),
    )
    for part in (pipeline.vae, pipeline.transformer):
        part.register_to_config(_name_or_path="")  # not where it lay on this machine
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    settings = {
        "steps": 4,
        "guidance_scale": 1.0,
        "height": 64,
        "width": 64,
        "num_frames": clips.FRAMES,
        "max_sequence_length": WORDS,
        "batch_size": 4,
    }
    (folder / "gensearch.json").write_text(json.dumps(settings, indent=2) + "\n")
