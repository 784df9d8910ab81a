"""Train the flow of `shapes/video`: from noise to the next latent frame, given the clean ones before it.

Flow matching (Lipman et al. 2023, arXiv:2210.02747) with teacher forcing: in one pass every latent frame of a clip is
denoised at its own time and attends to the clean frames before it. The first frame decides most of what a clip shows,
and alone it costs an eighth of a clip, so half of the steps train on first frames only. `video_map` distils the result.
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
from torch import Tensor

from gensearch.shapes import clips
from gensearch.shapes.train.clips.video_network import WORDS, TextToClip, build, words
from gensearch.shapes.train.clips.video_vae import movies
from gensearch.shapes.train.loop import accelerator, ahead, fit
from gensearch.shapes.train.muon import matrices

SHIFT = 2.0  # towards noisy times, in training as in the sampler's schedule
UNCONDITIONAL = 0.1  # share of samples without a prompt
AT_ONCE = 650  # frames to encode in one batch
FIRSTS = 8  # single first frames for each clip of a batch: both cost the same


class Encoded(NamedTuple):
    """Latents of clips or of first frames.

    Attributes:
        mean: of the posterior, standardised, fp16 [n, f, 16, 8, 8].
        std: of the posterior, standardised, fp16 [n, f, 16, 8, 8].
        ids: tokens of the prompts, int64 [n, 20].
    """

    mean: Tensor
    std: Tensor
    ids: Tensor


def token_ids(prompts: list[str]) -> Tensor:
    """Return the tokens of prompts, int64 [n, 20]."""
    ids: Tensor = words()(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


# --- data


def encode(vae: Any, count: int, frames: int, folder: Path, size: int = 500) -> Encoded:
    """Draw and encode the first `frames` frames of `count` training clips; parts that exist already are loaded."""
    starts = range(0, count, size)
    files = [folder / f"latents-{frames:02d}-{n:06d}-{min(n + size, count):06d}.safetensors" for n in starts]
    missing = [n for n, file in zip(starts, files, strict=True) if not file.exists()]
    drawn = ahead(lambda start: shown(frames, start, min(start + size, count)), missing)
    for start, (films, ids) in zip(missing, drawn, strict=True):
        file = files[start // size]
        save_file({**encoded(vae, films), "ids": ids}, file.with_suffix(".partial"))
        os.replace(file.with_suffix(".partial"), file)
        print(f"{start + len(ids)} clips of {frames} frames encoded", flush=True)
    parts = [load_file(file) for file in files]
    device = accelerator()
    return Encoded(**{key: torch.cat([part[key] for part in parts]).to(device) for key in Encoded._fields})


def shown(frames: int, start: int, end: int) -> tuple[Tensor, Tensor]:
    """Draw clips `start` to `end` and their tokens; each clip depends on `frames` and its own number only."""
    drawn = [clips.sample(np.random.default_rng((11, frames, number))) for number in range(start, end)]
    films = np.stack([clips.draw(clip, range(frames)) for _, clip in drawn])
    return torch.from_numpy(films), token_ids([line["prompt"] for line, _ in drawn])


@torch.no_grad()
def encoded(vae: Any, films: Tensor) -> dict[str, Tensor]:
    """Return standardised posteriors of clips uint8 [b, frames, 64, 64, 3]."""
    shape = (1, -1, 1, 1, 1)
    mean, std = (torch.tensor(v).view(shape).to(vae.device) for v in (vae.config.latents_mean, vae.config.latents_std))
    means, stds = [], []
    for part in films.split(max(1, AT_ONCE // films.shape[1])):
        posterior = vae.encode(movies(part.to(vae.device))).latent_dist
        means.append(((posterior.mean - mean) / std).transpose(1, 2).half().cpu())
        stds.append((posterior.std / std).transpose(1, 2).half().cpu())
    return {"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous()}


def draw(data: Encoded, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw latents [size, f, 16, 8, 8] from their posteriors, and their token ids, some without a prompt."""
    device = generator.device
    rows = torch.randint(len(data.ids), (size,), generator=generator, device=device)
    z = data.mean[rows].float()
    z = z + data.std[rows].float() * torch.randn(z.shape, generator=generator, device=device)
    dropped = torch.rand(size, 1, generator=generator, device=device) < UNCONDITIONAL
    return z, torch.where(dropped, token_ids([""]).to(device), data.ids[rows])


def times(size: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw times [size, frames] in (0, 1], stratified over the batch and shifted towards noise."""
    order = torch.rand(frames, size, generator=generator, device=generator.device).argsort(1).T
    u = (order + torch.rand(size, frames, generator=generator, device=generator.device)) / size
    return shift(u)


def shift(u: Tensor) -> Tensor:
    """Map [0, 1] to times as the scheduler does."""
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def noised(z: Tensor, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return latents at times t [b, f], and their velocity towards noise."""
    noise = torch.randn(z.shape, generator=generator, device=z.device)
    level = t[..., None, None, None]
    return (1 - level) * z + level * noise, noise - z


def flow_loss(networks: TextToClip, data: Encoded, size: int, generator: torch.Generator) -> Tensor:
    """Return the mean squared error of the velocity of every frame."""
    z, ids = draw(data, size, generator)
    t = times(size, z.shape[1], generator)
    x, velocity = noised(z, t, generator)
    clean = z if z.shape[1] > 1 else None
    return (networks(x, t, t, networks.read(ids), clean) - velocity).square().mean()


# --- training


def prepare(out: Path, films: int, stills: int) -> tuple[Any, Encoded, Encoded]:
    """Return the autoencoder, `films` encoded clips and `stills` encoded first frames of others, from out/video."""
    from diffusers import AutoencoderKLWan

    (out / "video").mkdir(parents=True, exist_ok=True)
    own, shipped = out / "video_vae" / "model", files("gensearch") / "shapes" / "weights" / "video" / "vae"
    folder = own if own.is_dir() else str(shipped)
    vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True).eval()
    vae.to(accelerator())
    return vae, encode(vae, films, clips.FRAMES, out / "video"), encode(vae, stills, 1, out / "video")


def train(out: Path, *, name: str, films: int, stills: int, steps: int, size: int, lr: float) -> None:
    """Fit the flow, `size` clips or eight times as many first frames a step, on out/video_vae/model if it is there."""
    networks = build().to(accelerator())
    vae, moving, still = prepare(out, films, stills)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step % 2:
            return flow_loss(networks, moving, size, generator)
        return flow_loss(networks, still, FIRSTS * size, generator)

    fit(networks, loss, folder=out / name, steps=steps, lr=lr, save_every=200, matrices=hidden(networks))
    export(networks, vae, out / name / "model")


def hidden(networks: TextToClip) -> list[Tensor]:
    """Return the matrices inside the blocks of both networks."""
    return matrices(networks.transformer.blocks, networks.text_encoder.encoder.block)


def restore(folder: Path) -> TextToClip:
    """Load the networks of an exported model, in fp32."""
    networks = build()
    for part, file in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")):
        state = {name: value.float() for name, value in load_file(folder / part / f"{file}.safetensors").items()}
        missing = getattr(networks, part).load_state_dict(state, strict=False)
        tied = {"encoder.embed_tokens.weight", "shared.weight"}
        if missing.unexpected_keys or set(missing.missing_keys) - tied:
            raise ValueError(f"{folder / part} holds another model: {missing}; train it again from its recipe")
    return networks


def export(networks: TextToClip, vae: Any, folder: Path) -> None:
    """Write an AnyFlowFARPipeline folder in fp16 safetensors, with the call settings that it was trained for."""
    from diffusers import AnyFlowFARPipeline, FlowMapEulerDiscreteScheduler

    pipeline = AnyFlowFARPipeline(
        tokenizer=words(),
        text_encoder=networks.text_encoder,
        transformer=networks.transformer,
        vae=vae,
        scheduler=FlowMapEulerDiscreteScheduler(shift=SHIFT),
    )
    for part in (pipeline.vae, pipeline.transformer):
        part.register_to_config(_name_or_path="")  # no paths of this machine
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    settings = {
        "steps": 3,
        "guidance_scale": 1.0,
        "height": 64,
        "width": 64,
        "num_frames": clips.FRAMES,
        "max_sequence_length": WORDS,
        "batch_size": 4,
    }
    (folder / "gensearch.json").write_text(json.dumps(settings, indent=2) + "\n")
