"""Helios, a chunk-autoregressive video model: chunks of 33 frames, by the public arguments of its pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gensearch.core.types import Noise
from gensearch.models.chunks.base import Chunks
from gensearch.models.chunks.clip import Chunk
from gensearch.models.clip_decoder import decoding_by, denormalised
from gensearch.models.native.base import call_settings, multiple
from gensearch.models.options import Batch, Count, Pixels, Scale, Shape, checked
from gensearch.models.pipelines import Wrapped, describe, exclusive, generators, label

KEY = (8,)  # the shape of a chunk's noise: numbers that seed the generator from which the pipeline draws its own


class Helios(Wrapped, Chunks):
    """A HeliosPipeline, one chunk of `num_latent_frames_per_chunk` latent frames at a time.

    The pipeline ignores `latents=`, so a chunk's noise is a key of 8 numbers, whose digest seeds the generator that the
    pipeline draws from. Each chunk is decoded by itself, as in the pipeline, so that earlier frames stay; the last one
    loses the frames that the pipeline cuts off. A clip equals the pipeline's own call whose generator is seeded again
    for each chunk. Samples are generated one at a time.

    Args:
        pipeline: A HeliosPipeline, which is left as it is.
        steps: Network steps of a chunk, 1 or more (default: the pipeline's).
        guidance_scale: Of classifier-free guidance, 0 or more; on above 1, where a step takes two forwards (default:
            the pipeline's).
        negative_prompt: For the unconditional row of guidance.
        max_sequence_length: Text tokens of a prompt (default: the pipeline's).
        height: In pixels, a multiple of the latents' scale times the patch size (default: the pipeline's).
        width: In pixels, the same (default: the pipeline's).
        num_frames: Of the whole clip, rounded up to whole chunks (default: the pipeline's).
        num_latent_frames_per_chunk: 1 or more (default: the pipeline's).
        history_sizes: Latent frames of the prefix at each resolution (default: 16, 2 and 1).
        batch_size: 1.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, the latents cannot have this size, or batches hold several samples.
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
    """Replaces the decoder of a pipeline that decodes even if it is to return latents.

    Args:
        latents: [b, c, t, h, w].
        return_dict: Ignored.
    """
    return (latents.new_zeros(len(latents), 3, 1, 1, 1),)
