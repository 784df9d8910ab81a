"""Video autoencoders: decoded clip by clip, and Wan's causal one a few latent frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def decoding_by(vae: Any, decode: Any) -> Iterator[None]:
    """Let `decode` stand in for an autoencoder's own method for a while."""
    before = vars(vae).get("decode")
    vae.decode = decode
    try:
        yield
    finally:
        del vae.decode
        if before is not None:
            vae.decode = before


def of_row(value: Any, row: int) -> Any:
    """One row of a batch [b, *]; anything that is no batch is for every row."""
    return value[row : row + 1] if isinstance(value, Tensor) and len(value) > 1 else value


@contextmanager
def clip_by_clip(vae: Any) -> Iterator[None]:
    """Have a video autoencoder decode the clips of a batch [b, c, t, h, w] one at a time; pictures stay together.

    On some processors 3-D convolutions give a clip other last bits at another place of a batch. A single clip is the
    largest piece whose bits depend on nothing else. Anything without an autoencoder is left alone.
    """
    real: Any = getattr(vae, "decode", None)

    def decode(latents: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        if latents.ndim != 5 or len(latents) == 1:
            return real(latents, *args, return_dict=return_dict, **kwargs)
        made = [
            real(
                latents[row : row + 1],
                *(of_row(value, row) for value in args),
                return_dict=False,
                **{name: of_row(value, row) for name, value in kwargs.items()},
            )[0]
            for row in range(len(latents))
        ]
        if not return_dict:
            return (torch.cat(made),)
        from diffusers.models.autoencoders.vae import DecoderOutput

        return DecoderOutput(torch.cat(made))

    if real is None:
        yield
        return
    with decoding_by(vae, decode):
        yield


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
