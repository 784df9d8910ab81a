"""FLUX.1: the pipeline's own transformer in a loop that can branch and be differentiated."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensearch.core.types import Noise
from gensearch.models.native.base import Native, call_settings, multiple
from gensearch.models.native.schedules import Flow
from gensearch.models.options import Batch, Count, Pixels, Scale, checked
from gensearch.models.pipelines import label
from verifiers.types import Media

PATCH = 2  # latents that one token holds along each side


class Flux(Native):
    """A FluxPipeline (schnell, dev), one network pass at a time; guidance is an input of dev and unused by schnell.

    Noise is latents [c, h, w]; they are packed into tokens only for the transformer.

    Args:
        pipeline: A FluxPipeline, which is left as it is.
        steps: Network steps, 1 or more (default: the pipeline's).
        guidance_scale: The distilled guidance of dev, 0 or more (default: the pipeline's).
        max_sequence_length: Text tokens of a prompt for T5 (default: the pipeline's).
        height: In pixels, a multiple of 16 (default: the pipeline's).
        width: In pixels, a multiple of 16 (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, a side is no multiple of a token's, or the scheduler is not FlowMatchEuler.
    """

    last_layer = "proj_out"

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        steps: Count | None = None,
        guidance_scale: Scale | None = None,
        max_sequence_length: Count | None = None,
        height: Pixels | None = None,
        width: Pixels | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        side = pipeline.default_sample_size * pipeline.vae_scale_factor
        self.size = multiple((height or side, width or side), PATCH * pipeline.vae_scale_factor)
        tall, wide = (edge // pipeline.vae_scale_factor for edge in self.size)
        self.noise_shape = (pipeline.transformer.config.in_channels // PATCH**2, tall, wide)
        self.schedule = read_flow(pipeline.scheduler, self.settings["steps"], tall * wide // PATCH**2)
        self.guidance = self.settings["guidance_scale"] if pipeline.transformer.config.guidance_embeds else 0.0
        self.batch_size = batch_size

    def look(self, network: Any, noise: Noise, *conditions: Tensor) -> Tensor:
        """The velocity that a network like the transformer predicts for pure noise, fp32 [b, *noise_shape]."""
        text, pooled = conditions
        return self._ask(network, *self._pure(noise, text.device), text, pooled)

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """One physical batch of velocities."""
        text, pooled = (condition[:, 0] for condition in conditions)
        return self._ask(self.network, x, t, text, pooled)

    def _ask(self, network: Any, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
        """One pass of a network like the transformer, on x [b, *noise_shape], fp32."""
        pipe, (_, tall, wide) = self.pipeline, self.noise_shape
        guides = pipe.transformer.config.guidance_embeds
        x = x.to(text.dtype)  # as the pipeline does
        output = network(
            hidden_states=pipe._pack_latents(x, len(x), *self.noise_shape),
            timestep=t.to(x.dtype) / 1000,
            guidance=torch.full((len(x),), self.guidance, device=x.device) if guides else None,
            pooled_projections=pooled,
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, dtype=text.dtype, device=x.device),
            img_ids=pipe._prepare_latent_image_ids(len(x), tall // PATCH, wide // PATCH, x.device, x.dtype),
            return_dict=False,
        )[0]
        return self._unpacked(output.float())

    def _unpacked(self, tokens: Tensor) -> Tensor:
        """Tokens [b, length, c * 4] as latents [b, *noise_shape]."""
        latents: Tensor = self.pipeline._unpack_latents(tokens, *self.size, self.pipeline.vae_scale_factor)
        return latents

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, 1, length, width] of T5, and the pooled ones [1, 1, width] of CLIP."""
        text, pooled, _ = self.pipeline.encode_prompt(
            prompt=prompt,
            prompt_2=None,
            device=self.device,
            max_sequence_length=self.settings["max_sequence_length"],
        )
        return text[:, None], pooled[:, None]

    def _decode(self, clean: Tensor) -> Media:
        """One physical batch of pictures."""
        vae = self.pipeline.vae
        latents = clean / vae.config.scaling_factor + vae.config.shift_factor
        image: Tensor = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
        return (image * 0.5 + 0.5).clamp(0, 1).float()


def read_flow(scheduler: Any, num_steps: int, tokens: int) -> Flow:
    """The schedule of the pipeline's own call; the scheduler is left as it is.

    Args:
        scheduler: Of a FluxPipeline.
        num_steps: Network steps.
        tokens: Of one picture, on which the shift of the noise levels depends.

    Raises:
        ValueError: The scheduler takes other steps than Euler's of the flow.
    """
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    kinds = {kind.__name__ for kind in type(scheduler).__mro__}
    if "FlowMatchEulerDiscreteScheduler" not in kinds or scheduler.config.stochastic_sampling:
        raise ValueError(f"{type(scheduler).__name__} has no native flow step; use adapter='probed'")
    own, config = copy.deepcopy(scheduler), scheduler.config
    limits = [config.get(key, value) for key, value in SHIFTS.items()]
    sigmas = None if config.get("use_flow_sigmas") else np.linspace(1.0, 1 / num_steps, num_steps)
    asked = {"num_inference_steps": num_steps} if sigmas is None else {"sigmas": sigmas}
    own.set_timesteps(**asked, mu=calculate_shift(tokens, *limits))
    return Flow(own.sigmas.cpu(), own.timesteps.cpu())


SHIFTS = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
