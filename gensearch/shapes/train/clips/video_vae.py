"""Train the autoencoder of `shapes/video`, from clips of 13 frames of 64x64 to four latent frames of 8x8x16."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensearch.shapes import clips
from gensearch.shapes.train.loop import Batches, accelerator, fit, learn_only

CHANNELS = 16
CONFIG = dict(
    base_dim=16,
    z_dim=CHANNELS,
    dim_mult=[1, 2, 2],
    num_res_blocks=1,
    is_residual=True,  # without these shortcuts it reconstructs no object for hundreds of steps
    temperal_downsample=[True, True],
    in_channels=12,  # 2x2 pixels, since convolutions at full resolution would take most of the time
    out_channels=12,
    patch_size=2,
    scale_factor_temporal=4,
    scale_factor_spatial=8,
    latents_mean=[0.0] * CHANNELS,
    latents_std=[1.0] * CHANNELS,
)
LOGVAR = -6.0  # of the untrained posterior
LENGTHS = (1, 5, 1, 9, 1, 13)  # frames of a training step, in turn; colours drift in clips longer than those trained
EDGES = 2.0  # weight of differences between neighbours: with blurred outlines the tracker loses stars and rings
OBJECT = 4.0  # weight of a pixel of an object, relative to the background
CROWD = 6  # most clips that are overlaid
ALONE = ("motion", "bounce", "change")  # tags with one object
STILLS = 4  # single frames for each clip of a batch


def movies(drawn: Tensor) -> Tensor:
    """Convert clips uint8 [b, frames, 64, 64, 3] to [b, 3, frames, 64, 64] in [-1, 1]."""
    return drawn.permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def batch(size: int, frames: int, seed: int, step: int, crowd: int = 2) -> Tensor:
    """Draw the training clips uint8 [b, frames, 64, 64, 3] of one step: consecutive frames from anywhere in a clip.

    Up to `crowd` clips of one object are overlaid: a full picture has more to learn from at the same cost.
    """
    rng = np.random.default_rng((seed, step))
    drawn = []
    for _ in range(size):
        layers = [clips.sample(rng, str(rng.choice(ALONE)))[1] for _ in range(rng.integers(1, crowd + 1))]
        things, paths = ([x for layer in layers for x in getattr(layer, name)] for name in ("things", "paths"))
        start = int(rng.integers(clips.FRAMES - frames + 1))
        merged = clips.Clip(tuple(things), tuple(paths))
        drawn.append(clips.draw(merged, range(start, start + frames)))
    return torch.from_numpy(np.stack(drawn))


def moving(size: int, seed: int, step: int) -> Tensor:
    """Draw the batch of one step: clips, or a larger number of single frames."""
    frames = LENGTHS[step % len(LENGTHS)]
    return batch(size if frames > 1 else STILLS * size, frames, seed, step, CROWD)


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the reconstruction error of clips y for x; objects, a tenth of the pixels, have more weight."""
    shown = (x - x[..., :1, :1]).abs().amax(1, keepdim=True) > 0.05  # the corner is background
    error = (y - x).abs() + 2 * (y - x).square()
    return ((1 + (OBJECT - 1) * shown.float()) * error).mean()


def train(out: Path, *, name: str, steps: int, size: int, lr: float, beta: float) -> None:
    """Fit reconstruction plus `beta` times the KL (nats per pixel value), standardise, write out/video_vae/model."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    vae = AutoencoderKLWan(**CONFIG).to(accelerator())
    with torch.no_grad():  # with its own initial variance the posterior is mere noise for hundreds of steps
        vae.quant_conv.bias[CHANNELS:] = LOGVAR

    batches = Batches(partial(moving, size, 1), steps)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x = movies(batches(step).to(vae.device))
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(generator)).sample.float()
        kl: Tensor = posterior.kl().float().mean()
        return distance(x, y) + beta * kl / x[0].numel()

    fit(vae, loss, folder=out / name, steps=steps, lr=lr, warmup=50, save_every=50)
    with torch.no_grad():
        x = movies(batch(16, clips.FRAMES, 2, 0).to(vae.device))
        posterior = vae.encode(x).latent_dist
        standardise(vae, posterior.mean)
        y = vae.decode(posterior.mode()).sample
        psnr = -10 * torch.log10(((y - x) / 2).square().mean((1, 2, 3, 4))).mean()
    print(f"psnr {psnr:.2f} dB, posterior std {posterior.std.mean() / posterior.mean.std():.4f} of the latents'")
    vae.save_pretrained(out / name / "model")


def train_decoder(out: Path, *, name: str, steps: int, size: int, lr: float) -> None:
    """Fit the decoder only, for fixed latents; replaces out/video_vae/model."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    folder = out / "video_vae" / "model"
    vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True)
    vae.to(accelerator())
    learn_only(vae, "decoder", "post_quant_conv")

    batches = Batches(partial(moving, size, 3), steps)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x = movies(batches(step).to(vae.device))
        with torch.no_grad():
            z = vae.encode(x).latent_dist.sample(generator)
        y = vae.decode(z).sample.float()
        return distance(x, y) + EDGES * sum(distance(x.diff(dim=way), y.diff(dim=way)) for way in (-1, -2))

    fit(vae, loss, folder=out / name, steps=steps, lr=lr, warmup=50, save_every=50)
    vae.save_pretrained(folder)


def standardise(vae: Any, latents: Tensor) -> None:
    """Write mean and std of each channel of latents [b, 16, f, 8, 8] to the config, where the pipeline reads them."""
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
