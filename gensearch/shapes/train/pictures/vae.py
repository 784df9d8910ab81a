"""Train the autoencoder of the embedded image models, from 64x64 pictures to 8x8x16 latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensearch.shapes import world
from gensearch.shapes.train.loop import fit

CONFIG = dict(
    in_channels=3,
    out_channels=3,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=(8, 16, 64, 128),
    layers_per_block=1,
    norm_num_groups=4,
    latent_channels=16,
    sample_size=64,
    mid_block_add_attention=True,
)


def pictures(scenes: list[world.Scene]) -> Tensor:
    """Render scenes to [b, 3, 64, 64] in [-1, 1]."""
    pixels = np.stack([np.asarray(world.render(scene)) for scene in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def batch(size: int, seed: int, step: int) -> Tensor:
    """Render the training pictures of one step."""
    rng = np.random.default_rng((seed, step))
    return pictures([world.sample(rng)[1] for _ in range(size)])


def train(out: Path, *, name: str, steps: int, size: int, lr: float, beta: float) -> None:
    """Fit reconstruction plus `beta` times the KL (nats per pixel value), then standardise; writes out/vae/model."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL(**CONFIG).to(memory_format=torch.channels_last)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x = batch(size, 1, step).to(memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        y: Tensor = vae.decode(posterior.sample(generator)).sample.float()
        rec = (y - x).abs().mean() + 2 * (y - x).square().mean()
        kl: Tensor = posterior.kl().float().mean()
        return rec + beta * kl / x[0].numel()

    fit(vae, loss, folder=out / name, steps=steps, lr=lr, save_every=200)
    with torch.no_grad():
        x = batch(256, 2, 0)
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.mode()).sample
        psnr = -10 * torch.log10(((y - x) / 2).square().mean((1, 2, 3))).mean()
        standardise(vae, posterior.mean)
    print(f"psnr {psnr:.2f} dB, posterior std {posterior.std.mean() / posterior.mean.std():.4f} of the latents'")
    vae.save_pretrained(out / name / "model")


@torch.no_grad()
def standardise(vae: Any, latents: Tensor) -> None:
    """Fold mean and std of each channel of latents [b, 16, 8, 8] into the two 1x1 convolutions around them.

    The pictures stay the same. The latents then have zero mean and unit variance per channel, which the single scaling
    factor of a pipeline cannot achieve.
    """
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    vae.quant_conv.weight[:channels] /= std[:, None, None, None]
    vae.quant_conv.bias[:channels] = (vae.quant_conv.bias[:channels] - mean) / std
    vae.quant_conv.bias[channels:] -= 2 * std.log()
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
    vae.post_quant_conv.weight *= std[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)
