"""Helios: clips of 33 frames after each other, through the public arguments of its pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gensearch.core.types import Noise
from gensearch.models.chunks.base import Chunk, Chunks
from gensearch.models.clip_decoder import decoding_by, denormalised
from gensearch.models.native.base import call_settings, multiple
from gensearch.models.options import Batch, Count, Pixels, Scale, Shape, checked
from gensearch.models.pipelines import Wrapped, describe, exclusive, generators, label

KEY = (8,)  # numbers that stand for a chunk's noise, which the pipeline draws itself


class Helios(Wrapped, Chunks):
    """A HeliosPipeline, one chunk of `num_latent_frames_per_chunk` latent frames at a time.

    The pipeline ignores `latents=`, so a chunk's noise is a key of 8 numbers, whose digest seeds the generator that the
    pipeline draws from. Chunks are decoded each by itself, as in the pipeline, so what was shown stays; the last one
    loses the frames that the pipeline cuts off. A clip equals the pipeline's own call whose generator is seeded anew
    for each chunk. Samples are made one at a time. Options are by default those of the pipeline's own call.
    """

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        steps: Count | None = None,
        guidance_scale: Scale | None = None,
        negative_prompt: str | None = None,
        max_sequence_length: Count | None = None,
        height: Pixels | None = None,
        width: Pixels | None = None,
        num_frames: Count | None = None,
        num_latent_frames_per_chunk: Count | None = None,
        history_sizes: Shape | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        """Read the pipeline's settings; the pipeline itself is left as it is.

        Raises ValueError for an unfit option, sides that the latents cannot have and batches of several samples.
        """
        if batch_size != 1:
            raise ValueError(f"Helios makes one clip at a time, not {batch_size}; leave out batch_size")
        self.pipeline, self.batch_size = pipeline, 1
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        call = inspect.signature(pipeline.__call__).parameters
        self.settings |= {"negative_prompt": negative_prompt, "history_sizes": list(history_sizes or (16, 2, 1))}
        latents = num_latent_frames_per_chunk or call["num_latent_frames_per_chunk"].default
        self.settings["num_latent_frames_per_chunk"] = latents
        block = pipeline.vae_scale_factor_spatial * pipeline.transformer.config.patch_size[1]
        self.size = multiple((height or call["height"].default, width or call["width"].default), block)
        stride = pipeline.vae_scale_factor_temporal
        self.window = (latents - 1) * stride + 1
        self.num_steps = max(1, -(-(num_frames or call["num_frames"].default) // self.window))
        total = (self.num_steps * self.window - 1) // stride * stride + 1
        self.frames = (*[self.window] * (self.num_steps - 1), total - self.window * (self.num_steps - 1))
        self.noise_shape = KEY
        self.nfe_per_step = self.settings["steps"] * (2 if self.settings["guidance_scale"] > 1 else 1)

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"size": list(self.size), "num_steps": self.num_steps, "components": self._hashes}
        return {**describe(self, self.pipeline, self.settings), **own}

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        """The latents [c, t, h, w] of the next chunk."""
        settings = {name: value for name, value in self.settings.items() if name != "steps"}
        made = []
        for prompt, chunk, generator in zip(prompts, before, generators(noise), strict=True):
            prefix = {}
            if chunk:
                latents = torch.cat([part.sample for part in chunk.clip()], 1)[None]
                latents = latents.to(self.device)
                prefix = {
                    "video_latents": latents,
                    "image_latents": latents[:, :, :1],
                    "add_noise_to_video_latents": False,
                    "add_noise_to_image_latents": False,
                }
            with exclusive(self.pipeline, new=True), decoding_by(self.pipeline.vae, nothing):
                clip = self.pipeline(
                    prompt=prompt,
                    height=self.size[0],
                    width=self.size[1],
                    num_frames=self.window,
                    num_inference_steps=self.settings["steps"],
                    generator=generator,
                    output_type="latent",
                    **prefix,
                    **settings,
                ).frames
            made.append(clip[0, :, -self.settings["num_latent_frames_per_chunk"] :].clone())
        return made

    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        """The frames of one chunk, decoded by itself."""
        vae, index = self.pipeline.vae, len(chunk.clip()) - 1
        latents = chunk.sample[None].to(self.device, vae.dtype)
        video = vae.decode(denormalised(vae, latents), return_dict=False)[0]
        frames = self.pipeline.video_processor.postprocess_video(video, output_type="pt")[0]
        return frames[: self.frames[index]].float(), None


def nothing(latents: Tensor, return_dict: bool = True) -> tuple[Tensor]:
    """Stands in for a decoder in a pipeline that is asked for latents and decodes them all the same."""
    return (latents.new_zeros(len(latents), 3, 1, 1, 1),)
