"""Video autoencoders: decoded clip by clip, and Wan's causal one a few latent frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def decoding_by(vae: Any, decode: Any) -> Iterator[None]:
    """Replace an autoencoder's `decode` for a while.

    Args:
        vae: The autoencoder.
        decode: What it calls instead.
    """
    before = vars(vae).get("decode")
    vae.decode = decode
    try:
        yield
    finally:
        del vae.decode
        if before is not None:
            vae.decode = before


def of_row(value: Any, row: int) -> Any:
    """One row of a batch [b, *]; anything else is shared by all rows.

    Args:
        value: An argument of `decode`.
        row: From 0.
    """
    return value[row : row + 1] if isinstance(value, Tensor) and len(value) > 1 else value


@contextmanager
def clip_by_clip(vae: Any) -> Iterator[None]:
    """Have a video autoencoder decode the clips of a batch [b, c, t, h, w] one at a time; pictures stay together.

    On some processors 3-D convolutions round by the place of a clip in its batch, so that a clip keeps its bits only if
    it is decoded alone.

    Args:
        vae: The autoencoder; None, or anything that does not decode, is left alone.
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
    """Latents in the autoencoder's own units, rounded as the pipelines do.

    Args:
        vae: Its configuration has `latents_mean` and `latents_std`.
        latents: [b, c, t, h, w] of unit variance.
    """
    mean, std = (
        torch.tensor(values).view(1, vae.config.z_dim, 1, 1, 1).to(latents.device, latents.dtype)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return latents / (1.0 / std) + mean


def decode_next(vae: Any, latents: Tensor, before: list[Any] | None) -> tuple[Tensor, list[Any]]:
    """The next frames [b, 3, t, h, w] in [-1, 1], and the decoder's state after them.

    Frames equal those of decoding the whole clip at once, bit for bit.

    Args:
        vae: Wan's causal autoencoder.
        latents: Of the next frames, [b, c, t, h, w].
        before: The decoder's state after the frames before, which is left as it is; None at the beginning.
    """
    if hook := getattr(vae, "_hf_hook", None):  # offloaded weights are loaded
        hook.pre_forward(vae)
    kept: list[Any] = list(before) if before is not None else [None] * vae._cached_conv_counts["decoder"]
    x = vae.post_quant_conv(latents)
    frames = []
    for index in range(x.shape[2]):
        first = {"first_chunk": True} if before is None and index == 0 else {}
        frames.append(vae.decoder(x[:, :, index : index + 1], feat_cache=kept, feat_idx=[0], **first))
    video = torch.cat(frames, 2)
    if vae.config.patch_size is not None:
        from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

        video = unpatchify(video, patch_size=vae.config.patch_size)
    return torch.clamp(video, min=-1.0, max=1.0), kept
