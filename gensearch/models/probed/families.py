"""How each family of pipelines scales and decodes its latents.

Functions `decode_*` take (pipeline, settings of its call, latents [b, *]) and return media in [0, 1]; `Family` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gensearch.models.clip_decoder import denormalised
from verifiers.types import Media

Settings = Mapping[str, Any]  # the keyword arguments of the pipeline call


def as_it_is(pipeline: Any, x0: Tensor) -> Tensor:
    """Most pipelines decode in the scheduler's own units."""
    return x0


def by_sigma_data(pipeline: Any, x0: Tensor) -> Tensor:
    """TrigFlow schedulers work on data scaled by `sigma_data`."""
    scale: float = pipeline.scheduler.config.sigma_data
    return x0 / scale


def decode_scaled(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """Stable Diffusion: divide by the scaling factor."""
    latents = latents.to(pipeline.vae.dtype)
    return images(pipeline, pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0])


def decode_normalised(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """SDXL: the scaling factor, or a mean and deviation per channel; fp16 weights that overflow decode in fp32."""
    vae = pipeline.vae
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        pipeline.upcast_vae()
    latents = latents.to(next(iter(vae.post_quant_conv.parameters())).dtype if upcast else vae.dtype)
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is not None and std is not None:
        mean, std = (torch.tensor(v).view(1, 4, 1, 1).to(latents.device, latents.dtype) for v in (mean, std))
        latents = latents * std / vae.config.scaling_factor + mean
    else:
        latents = latents / vae.config.scaling_factor
    image = vae.decode(latents, return_dict=False)[0]
    if upcast:
        vae.to(dtype=torch.float16)
    if pipeline.watermark is not None:
        image = pipeline.watermark.apply_watermark(image)
    return images(pipeline, image)


def decode_packed(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """FLUX: unpack 2x2 patches, then scale and shift."""
    side = pipeline.default_sample_size * pipeline.vae_scale_factor
    height, width = settings.get("height") or side, settings.get("width") or side
    latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    return decode_shifted(pipeline, settings, latents)


def decode_shifted(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """Stable Diffusion 3 and Z-Image: divide by the scaling factor, add the shift."""
    config = pipeline.vae.config
    latents = (latents.to(pipeline.vae.dtype) / config.scaling_factor) + config.shift_factor
    return images(pipeline, pipeline.vae.decode(latents, return_dict=False)[0])


def decode_binned(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """SANA: scaled, and resized back when the pipeline moved the size to the nearest bin."""
    latents = latents.to(pipeline.vae.dtype)
    image = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    if settings.get("use_resolution_binning", True):
        height, width = settings.get("height", 1024), settings.get("width", 1024)
        image = pipeline.image_processor.resize_and_crop_tensor(image, width, height)
    return images(pipeline, image)


def decode_clip(pipeline: Any, settings: Settings, latents: Tensor) -> Media:
    """Wan: a mean and deviation per channel, then the video autoencoder; [b, t, 3, h, w]."""
    vae = pipeline.vae
    video = vae.decode(denormalised(vae, latents.to(vae.dtype)), return_dict=False)[0]
    clips: Media = pipeline.video_processor.postprocess_video(video, output_type="pt")
    return clips


def images(pipeline: Any, decoded: Tensor) -> Media:
    """From the decoder's range to [0, 1]."""
    media: Media = pipeline.image_processor.postprocess(decoded, output_type="pt")
    return media


@dataclass(frozen=True)
class Family:
    """How one family of pipelines decodes.

    Attributes:
        decode: (pipeline, settings, latents) -> the pipeline's own media, bit for bit, from what
            `output_type="latent"` returns.
        unscaled: (pipeline, x0) -> latents in the units of `decode`, from a clean estimate in the scheduler's units.
        clips: Whether media are clips, which are decoded one at a time.
    """

    decode: Callable[[Any, Settings, Tensor], Media]
    unscaled: Callable[[Any, Tensor], Tensor] = as_it_is
    clips: bool = False


FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": Family(decode_scaled),
    "LatentConsistencyModelPipeline": Family(decode_scaled),
    "StableDiffusionXLPipeline": Family(decode_normalised),
    "StableDiffusion3Pipeline": Family(decode_shifted),
    "ZImagePipeline": Family(decode_shifted),
    "FluxPipeline": Family(decode_packed),
    "SanaPipeline": Family(decode_binned),
    "SanaSprintPipeline": Family(decode_binned, by_sigma_data),
    "WanPipeline": Family(decode_clip, clips=True),
}


def family(pipeline: Any) -> Family | None:
    """The family of a pipeline; None if only the pipeline itself can decode, as with a safety checker."""
    return None if getattr(pipeline, "safety_checker", None) is not None else FAMILIES.get(type(pipeline).__name__)


def rearranged(sample: Tensor, noise: Tensor, tolerance: float = 1e-2) -> bool:
    """Whether a first sample is the noise that was passed as `latents=`, up to one scale and the order of its numbers.

    Pipelines pack `latents=` into tokens, and many multiply it by `init_noise_sigma` or `sigma_data`.

    Args:
        sample: The first scheduler step's, [b, *].
        noise: What was passed, [b, *noise_shape], standard normal.
        tolerance: Relative; half precision rounds to about 1e-3.
    """
    if sample[0].numel() != noise[0].numel():
        return False
    s, n = (x.flatten(1).float().cpu().sort(dim=1).values for x in (sample, noise))
    scale = (s * n).sum() / n.square().sum()
    return bool((s - scale * n).norm() <= tolerance * s.norm())
