"""Wan's causal video autoencoder, decoded a few latent frames at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def denormalised(vae: Any, latents: Tensor) -> Tensor:
    """Latents [b, c, t, h, w] of unit variance in the autoencoder's own units, rounded as the pipelines do."""
    mean, std = (
        torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(latents.device, latents.dtype)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return latents / (1.0 / std) + mean


def developed(vae: Any, latents: Tensor, film: list[Any] | None) -> tuple[Tensor, list[Any]]:
    """The next frames [b, 3, t, h, w] in [-1, 1], and what the decoder keeps to go on from there.

    `film` is what it kept after the frames before, None at the beginning; it is left as it is. Frames equal those of
    one decoding of everything, bit for bit.
    """
    if hook := getattr(vae, "_hf_hook", None):  # weights that wait elsewhere come
        hook.pre_forward(vae)
    kept: list[Any] = list(film) if film is not None else [None] * vae._cached_conv_counts["decoder"]
    x = vae.post_quant_conv(latents)
    frames = []
    for index in range(x.shape[2]):
        first = {"first_chunk": True} if film is None and index == 0 else {}
        frames.append(vae.decoder(x[:, :, index : index + 1], feat_cache=kept, feat_idx=[0], **first))
    video = torch.cat(frames, 2)
    if vae.config.patch_size is not None:
        from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

        video = unpatchify(video, patch_size=vae.config.patch_size)
    return torch.clamp(video, min=-1.0, max=1.0), kept
