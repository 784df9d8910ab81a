"""LTX-Video text-to-video: the pipeline's own transformer in a loop that can branch, one network pass at a time."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensearch.models.native.base import Native, call_settings, multiple
from gensearch.models.native.flux import SHIFTS
from gensearch.models.native.stable_diffusion import guided, stacked
from gensearch.models.native.wan import read_video_flow, whole_clip
from gensearch.models.options import Batch, Count, Pixels, Scale, Share, checked
from gensearch.models.pipelines import label
from verifiers.types import Media


class LTX(Native):
    """An LTXPipeline, one network pass at a time.

    Noise is latents [c, t, h, w], packed into tokens only for the transformer; media are clips [t, 3, height, width].
    An autoencoder that is conditioned on a timestep decodes at 0, where no noise is added.

    Args:
        pipeline: An LTXPipeline, which is left as it is.
        steps: Network steps, 1 or more (default: the pipeline's).
        guidance_scale: Of classifier-free guidance, 0 or more; on above 1, where a step takes two forwards (default:
            the pipeline's).
        guidance_rescale: How far the guided output gets back the conditional one's spread, 0 to 1.
        negative_prompt: For the unconditional row of guidance.
        max_sequence_length: Text tokens of a prompt (default: the pipeline's).
        height: In pixels, a multiple of the latents' scale (default: the pipeline's).
        width: In pixels, a multiple of the latents' scale (default: the pipeline's).
        num_frames: 1 more than a multiple of the latents' temporal scale (default: the pipeline's).
        frame_rate: Frames per second (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, the latents cannot have this size, a token holds several latents, the decoder
            draws random numbers, or the scheduler is no flow.
    """

    verbs = frozenset({"branch", "rewind", "transition"})

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        steps: Count | None = None,
        guidance_scale: Scale | None = None,
        guidance_rescale: Share = 0.0,
        negative_prompt: str | None = None,
        max_sequence_length: Count | None = None,
        height: Pixels | None = None,
        width: Pixels | None = None,
        num_frames: Count | None = None,
        frame_rate: Count | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        if (pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size) != (1, 1):
            raise ValueError("this LTX packs several latents into a token; use adapter='probed'")
        if any(pipeline.vae.config.decoder_inject_noise):
            raise ValueError("the decoder of this LTX draws random numbers of its own, so no clip comes back from it")
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        call = inspect.signature(pipeline.__call__).parameters
        self.frame_rate = frame_rate or call["frame_rate"].default
        self.settings |= {"negative_prompt": negative_prompt, "frame_rate": self.frame_rate}
        self.settings["guidance_rescale"] = guidance_rescale
        edge, stride = pipeline.vae_spatial_compression_ratio, pipeline.vae_temporal_compression_ratio
        self.size = multiple((height or call["height"].default, width or call["width"].default), edge)
        self.num_frames = whole_clip(num_frames or call["num_frames"].default, stride)
        self.grid = ((self.num_frames - 1) // stride + 1, *(side // edge for side in self.size))
        self.noise_shape = (pipeline.transformer.config.in_channels, *self.grid)
        self.nfe_per_step = 2 if self.settings["guidance_scale"] > 1 else 1
        self.guidance = self.settings["guidance_scale"] if self.nfe_per_step == 2 else 0.0
        self.batch_size = batch_size
        self.schedule, self.notes = self._flow(self.settings["steps"])

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        return {**super().fingerprint(), "num_frames": self.num_frames}

    def _flow(self, steps: int) -> Any:
        """The schedule of the pipeline's call for clips of this size."""
        from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

        config = self.pipeline.scheduler.config
        length = self.grid[0] * self.grid[1] * self.grid[2]
        mu = calculate_shift(length, *(config.get(key, value) for key, value in SHIFTS.items()))
        return read_video_flow(self.pipeline.scheduler, steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """One physical batch of velocities [b, *noise_shape]; conditions are [b, nfe_per_step, *]."""
        text, mask = (stacked(condition) for condition in conditions)
        passes, stride = self.nfe_per_step, self.pipeline.vae_temporal_compression_ratio
        edge = self.pipeline.vae_spatial_compression_ratio
        tokens = self.pipeline._pack_latents(x)
        with self.network.cache_context("cond_uncond"):
            output = self.network(
                hidden_states=torch.cat([tokens] * passes).to(text.dtype),
                encoder_hidden_states=text,
                timestep=torch.cat([t] * passes),
                encoder_attention_mask=mask,
                num_frames=self.grid[0],
                height=self.grid[1],
                width=self.grid[2],
                rope_interpolation_scale=(stride / self.frame_rate, edge, edge),
                return_dict=False,
            )[0].float()
        if passes == 2:
            unconditional, conditional = output.chunk(2)
            output = guided(unconditional, conditional, self.guidance, self.settings["guidance_rescale"])
        velocity: Tensor = self.pipeline._unpack_latents(output, *self.grid)
        return velocity

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, nfe_per_step, length, width] and their masks, the negative prompt first."""
        conditional, mask, unconditional, negative_mask = self.pipeline.encode_prompt(
            prompt=prompt,
            negative_prompt=self.settings["negative_prompt"],
            do_classifier_free_guidance=self.nfe_per_step == 2,
            max_sequence_length=self.settings["max_sequence_length"],
            device=self.device,
        )
        if self.nfe_per_step == 1:
            return conditional[:, None], mask[:, None]
        return torch.stack([unconditional, conditional], 1), torch.stack([negative_mask, mask], 1)

    def _decode(self, clean: Tensor) -> Media:
        """One clip [1, t, 3, height, width]."""
        vae, pipe = self.pipeline.vae, self.pipeline
        latents = pipe._denormalize_latents(clean, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
        timed = vae.config.timestep_conditioning
        at = torch.zeros(len(clean), device=latents.device, dtype=vae.dtype) if timed else None
        video = vae.decode(latents.to(vae.dtype), at, return_dict=False)[0]
        clip: Media = pipe.video_processor.postprocess_video(video, output_type="pt")
        return clip.float()
