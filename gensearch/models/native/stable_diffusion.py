"""Stable Diffusion 1, 2, XL and their Turbo versions: the pipeline's own networks in a loop that can branch."""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from gensearch.core import kernels
from gensearch.core.types import Noise
from gensearch.models.native.base import Native, multiple
from gensearch.models.native.schedules import find_scheduler, read_schedule
from gensearch.models.options import Batch, Count, Pixels, Scale, Share, checked
from gensearch.models.pipelines import label
from verifiers.types import Media


class StableDiffusion(Native):
    """A StableDiffusionPipeline or StableDiffusionXLPipeline, one network pass at a time.

    A scheduler without a native step is replaced by DDIM on its noise levels, with a warning that `notes` keeps.

    Args:
        pipeline: Which is left as it is.
        steps: Network steps, 1 or more (default: the pipeline's).
        guidance_scale: Of classifier-free guidance, 0 or more; on above 1, where a step takes two forwards (default:
            the pipeline's).
        guidance_rescale: How far the guided output gets back the conditional one's spread, 0 to 1.
        negative_prompt: For the unconditional row of guidance.
        eta: Of DDIM, 0 (deterministic) to 1 (ancestral).
        sampler: "ddim", "euler" or "euler_ancestral" (default: the pipeline's).
        spacing: Of timesteps, "trailing", "leading" or "linspace" (default: the pipeline's).
        height: In pixels, a multiple of the latents' scale (default: the pipeline's).
        width: In pixels, a multiple of the latents' scale (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, a side is no multiple of the latents' scale, the UNet takes more than latents
            and text, or `read_schedule` refuses the schedule.
    """

    last_layer = "conv_out"

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        steps: Count | None = None,
        guidance_scale: Scale | None = None,
        guidance_rescale: Share = 0.0,
        negative_prompt: str | None = None,
        eta: Share = 0.0,
        sampler: str | None = None,
        spacing: str | None = None,
        height: Pixels | None = None,
        width: Pixels | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.scheduler, sampler, self.notes = find_scheduler(pipeline.scheduler, sampler, spacing)
        for note in self.notes:
            warnings.warn(note, UserWarning, stacklevel=callers_level())
        call = inspect.signature(pipeline.__call__).parameters
        steps = call["num_inference_steps"].default if steps is None else steps
        guidance_scale = call["guidance_scale"].default if guidance_scale is None else guidance_scale
        self.schedule = read_schedule(self.scheduler, sampler, steps, eta)
        self.settings = {
            "steps": steps,
            "guidance_scale": guidance_scale,
            "guidance_rescale": guidance_rescale,
            "negative_prompt": negative_prompt,
            "eta": eta,
            "sampler": sampler,
        }
        self.guidance_scale = guidance_scale
        self.guidance_rescale = guidance_rescale
        self.negative_prompt = negative_prompt
        self.size = picture_size(pipeline, height, width)
        self.noise_shape = latent_shape(pipeline, self.size)
        self.nfe_per_step = 2 if guidance_scale > 1 else 1
        self.guidance = guidance_scale if self.nfe_per_step == 2 else 0.0
        self.batch_size = batch_size

    @property
    def network(self) -> Any:
        """The denoiser."""
        return self.pipeline.unet

    def look(self, network: Any, noise: Noise, *conditions: Tensor) -> Tensor:
        """The output of a network like the UNet for pure noise, fp32 [b, *noise_shape], without guidance."""
        return self._ask(network, *self._pure(noise, conditions[0].device), *conditions)

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """The UNet's output after guidance for one physical batch, fp32; conditions are [b, nfe_per_step, *]."""
        passes = self.nfe_per_step
        rows = [stacked(condition) for condition in conditions]
        output = self._ask(self.network, torch.cat([x] * passes), torch.cat([t] * passes), *rows)
        if passes == 1:
            return output
        unconditional, conditional = output.chunk(2)
        return guided(unconditional, conditional, self.guidance_scale, self.guidance_rescale)

    def _ask(self, network: Any, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor | None = None) -> Tensor:
        """One pass of a network like the UNet, fp32."""
        x = x.to(text.dtype)  # as the pipeline does
        added = None
        if pooled is not None:
            sizes = torch.tensor([[*self.size, 0, 0, *self.size]], dtype=text.dtype, device=x.device)
            added = {"text_embeds": pooled, "time_ids": sizes.repeat(len(x), 1)}
        output: Tensor = network(x, t, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0]
        return output.float()

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, nfe_per_step, length, width], the negative prompt first; SDXL adds pooled ones."""
        twice = self.nfe_per_step == 2
        found = self.pipeline.encode_prompt(
            prompt=prompt,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=twice,
            negative_prompt=self.negative_prompt,
        )
        pairs = [found[i : i + 2] for i in range(0, len(found), 2)]
        return tuple(torch.stack(pair[::-1] if twice else pair[:1], dim=1) for pair in pairs)

    def _decode(self, clean: Tensor) -> Media:
        """One physical batch of pictures."""
        vae, config = self._vae, self._vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            mean, std = (torch.tensor(v).view(1, -1, 1, 1).to(clean) for v in (mean, std))
            latents = clean * std / config.scaling_factor + mean
        else:
            latents = clean / config.scaling_factor + (config.get("shift_factor") or 0)
        image: Tensor = vae.decode(latents.to(self._precision), return_dict=False)[0]
        media = (image * 0.5 + 0.5).clamp(0, 1).float()
        if getattr(self.pipeline, "safety_checker", None) is None:
            return media
        _, flags = self.pipeline.run_safety_checker(image.detach().clone(), image.device, self.pipeline.unet.dtype)
        (safe,) = kernels.rows(media, ~torch.tensor(flags))
        return media * safe

    @cached_property
    def _vae(self) -> Any:
        """The decoder; SDXL's overflows in fp16, so then a copy in fp32."""
        vae = self.pipeline.vae
        overflows = hasattr(self.pipeline, "upcast_vae") and vae.dtype == torch.float16 and vae.config.force_upcast
        if not overflows:
            return vae
        # Without the hook of offloading, which holds the other networks: they would be copied as well.
        return copy.deepcopy(vae, {id(getattr(vae, "_hf_hook", None)): None}).to(self.device, torch.float32)

    @cached_property
    def _precision(self) -> torch.dtype:
        """The decoder's dtype; cached, since it walks through all its parameters to find it."""
        return cast(torch.dtype, self._vae.dtype)


def callers_level() -> int:
    """The `stacklevel` of a warning that points to the first line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] == "gensearch":
        level, frame = level + 1, frame.f_back
    return level


def stacked(conditions: Tensor) -> Tensor:
    """Conditions [b, passes, *] as the network takes them, [passes * b, *]."""
    return conditions.transpose(0, 1).flatten(0, 1)


def guided(unconditional: Tensor, conditional: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, arXiv:2207.12598), rescaled (Lin et al., arXiv:2305.08891, 3.4).

    Args:
        unconditional: The output for the negative prompt, [b, *].
        conditional: The output for the prompt, [b, *].
        scale: Of guidance.
        rescale: How far the result gets back the standard deviation of the conditional output, 0 to 1.
    """
    output = unconditional + scale * (conditional - unconditional)
    if not rescale:
        return output
    axes = list(range(1, output.ndim))
    spread = conditional.std(dim=axes, keepdim=True) / output.std(dim=axes, keepdim=True)
    return rescale * (output * spread) + (1 - rescale) * output


def picture_size(pipeline: Any, height: int | None, width: int | None) -> tuple[int, int]:
    """Height and width in pixels.

    Args:
        pipeline: Of Stable Diffusion.
        height: None for that of training.
        width: None for that of training.

    Raises:
        ValueError: A side is no multiple of the latents' scale.
    """
    factor, sample = pipeline.vae_scale_factor, pipeline.unet.config.sample_size
    tall, wide = (sample, sample) if isinstance(sample, int) else sample
    return multiple((height or tall * factor, width or wide * factor), factor)


def latent_shape(pipeline: Any, size: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, height and width of the latents.

    Args:
        pipeline: Of Stable Diffusion.
        size: Height and width in pixels.

    Raises:
        ValueError: The UNet takes more than latents and text.
    """
    config = pipeline.unet.config
    if config.in_channels != config.out_channels:
        raise ValueError(
            f"the UNet takes {config.in_channels} channels and returns {config.out_channels}: an inpainting or "
            "conditioned model. Use a text-to-image model, or adapter='probed'"
        )
    if config.time_cond_proj_dim is not None:
        raise ValueError("the UNet takes the guidance scale as an input (a consistency model); use adapter='probed'")
    factor = pipeline.vae_scale_factor
    return config.in_channels, size[0] // factor, size[1] // factor
