"""Rendered scenes with the facts that they were drawn from: clean, blurred, or through the autoencoder with noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensearch.shapes.judge import pixels
from gensearch.shapes.train.judges.clip import degrade, draw
from gensearch.shapes.train.judges.labels import of_scenes, part

LATENT_NOISE = 0.25  # largest standard deviation of noise on standardised latents; objects stay what they are


@torch.no_grad()
def make_part(vae: Any, number: int, size: int) -> dict[str, Tensor]:
    """Draw one part: half of its pictures blurred, half through the autoencoder; uint8 [n, 3, 64, 64] and their table.

    Args:
        vae: of the embedded image models.
        number: of the part, from which everything random comes.
        size: pictures, an even number.
    """
    rng, generator = np.random.default_rng((41, number)), torch.Generator().manual_seed(41_000_003 + number)
    _, scenes, images = zip(*(draw(rng) for _ in range(size)), strict=True)
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    soft, coded = degrade(x[::2], generator), autoencoded(vae, x[1::2], generator)
    media = torch.stack([soft, coded], 1).flatten(0, 1)
    return part([pixels(picture) for picture in media], of_scenes(scenes))


def autoencoded(vae: Any, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures [b, 3, h, w] in [0, 1] after the autoencoder, with noise on their latents."""
    return disturbed(vae, vae.encode(2 * x - 1).latent_dist.mode(), generator)


def disturbed(vae: Any, latents: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures [b, 3, h, w] in [0, 1] of latents with noise."""
    sigma = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator)
    decoded: Tensor = vae.decode(latents + sigma * torch.randn(latents.shape, generator=generator)).sample
    return (decoded.float() / 2 + 0.5).clamp(0, 1)
