"""Any image-to-video or video-to-video pipeline as a chunk-autoregressive model: each clip continues the one before."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gensearch.core.noise import randn
from gensearch.core.types import Noise
from gensearch.files.images import Picture, digest, to_images, to_pixels
from gensearch.models.chunks.base import Chunks
from gensearch.models.chunks.clip import Chunk
from gensearch.models.media import to_media
from gensearch.models.options import Batch, Count, checked
from gensearch.models.pipelines import Wrapped, counting, describe, exclusive, generators, label
from gensearch.models.probed.families import rearranged
from gensearch.models.probed.stepper import first_step

KEY = (8,)  # the shape of a chunk's noise if a pipeline draws its own: numbers that seed its generator
OURS = ("prompt", "latents", "generator", "output_type", "image", "video", "conditions", "frame_index")


class Chaining(Wrapped, Chunks):
    """A pipeline whose clips begin with given frames: every chunk continues the last `overlap` frames of the prefix.

    The copies of those frames in the next clip are dropped, since pixels pass through the autoencoder and come back
    changed. Noise is the pipeline's `latents=`; if these are ignored or missing it is a key of 8 numbers, whose digest
    seeds the pipeline's generator. Samples are generated one at a time. Construction runs the first steps of a first
    clip twice, to measure the latents' shape, the forwards and the effect of the noise.

    Args:
        pipeline: Takes `image`, `video` or conditions; it is left as it is.
        image: A file or PIL picture with which the first clip begins; None if the pipeline needs none.
        chunks: Of a clip, 1 or more.
        overlap: Frames that a chunk continues, 1 or more.
        steps: Network steps of a chunk (default: the pipeline's).
        batch_size: 1.
        name: In logs and records (default: where the pipeline came from).
        prompt: For the measurement.
        settings: Of the pipeline's call.

    Raises:
        ValueError: The pipeline takes no frames, the search sets one of the settings, the overlap does not fit, the
            image is missing, batches hold several samples, or noise changes nothing.
    """

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        image: Any = None,
        chunks: Count = 3,
        overlap: Count = 1,
        steps: Count | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
        prompt: str = "a photo of a cat",
        **settings: Any,
    ) -> None:
        if batch_size != 1:
            raise ValueError(f"clips are chained one at a time, not {batch_size}; leave out batch_size")
        if clash := [name for name in settings if name in OURS]:
            raise ValueError(f"{', '.join(clash)} cannot be a setting of a chain of clips; leave it out")
        call = inspect.signature(pipeline.__call__).parameters
        self.begins = next((way for way in ("conditions", "image", "video") if way in call), "")
        if not self.begins:
            raise ValueError(
                f"{type(pipeline).__name__} takes no frames to begin with; take one that goes from image to video"
            )
        if image is None and call[self.begins].default is inspect.Parameter.empty:
            raise ValueError(f"{type(pipeline).__name__} begins with a picture; give image=, a file or a PIL picture")
        self.pipeline, self.batch_size, self.name = pipeline, 1, name or label(pipeline)
        self.image = Image.open(image).convert("RGB") if isinstance(image, str | Path) else image
        self.settings = settings | ({"num_inference_steps": steps} if steps else {})
        length = self.settings.get("num_frames") or getattr(call.get("num_frames"), "default", None)
        if not isinstance(length, int):
            raise ValueError(f"{type(pipeline).__name__} does not say how long its clips are; give num_frames=")
        self._check(call, overlap, length)
        self.overlap, self.num_steps, self.longest = overlap, chunks, length
        self.frames = (length, *[length - overlap] * (chunks - 1))
        self._measure(prompt, call)

    def _check(self, call: Any, overlap: int, length: int) -> None:
        """Raise ValueError for an overlap that this pipeline cannot continue."""
        kind = type(self.pipeline).__name__
        if overlap >= length:
            raise ValueError(f"an overlap of {overlap} leaves nothing of clips of {length} frames; take less")
        if self.begins == "image" and overlap > 1:
            raise ValueError(f"{kind} goes on from one picture, not from {overlap}; leave out overlap")
        if self.begins == "conditions" and not {"image", "video"} <= set(call):
            raise ValueError(f"{kind} takes conditions of its own kind only; take LTXConditionPipeline")
        if self.begins == "video" and "mask" in call:
            raise ValueError(f"{kind} makes all frames anew that no mask keeps; take one that goes on from a video")
        stride = getattr(self.pipeline, "vae_temporal_compression_ratio", 1)
        if self.begins == "conditions" and (overlap - 1) % stride:
            raise ValueError(f"{kind} reads 1 + k * {stride} frames, not {overlap}; take such an overlap")

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"num_steps": self.num_steps, "overlap": self.overlap, "noise_shape": list(self.noise_shape)}
        begins = None if self.image is None else digest(to_pixels(to_media([self.image])[0]))
        return {
            **describe(self, self.pipeline, self.settings),
            **own,
            "image": begins,
            "nfe_per_step": self.nfe_per_step,
            "components": self._hashes,
        }

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        """The new frames [3, t, h, w] of the next clip."""
        made = []
        for row, (prompt, chunk) in enumerate(zip(prompts, before, strict=True)):
            with exclusive(self.pipeline, new=True):
                clip = to_media(self._call(prompt, self._ending(chunk), noise[row : row + 1]))[0]
            if len(clip) != self.frames[0]:
                raise ValueError(
                    f"{self.name} made {len(clip)} frames instead of {self.frames[0]}; set num_frames to it"
                )
            made.append(clip[self.overlap if chunk else 0 :].transpose(0, 1).contiguous())
        return made

    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        """The sample itself is pixels."""
        return chunk.sample.transpose(0, 1), None

    def _ending(self, chunk: Chunk | None) -> list[Picture]:
        """The frames to continue, as pictures."""
        if chunk is None:
            return [] if self.image is None else [self.image]
        return to_images(torch.cat([part.sample for part in chunk.clip()], 1)[:, -self.overlap :].transpose(0, 1))

    def _call(self, prompt: str, ending: list[Picture], noise: Noise) -> Any:
        """One call of the pipeline."""
        pipe, given = self.pipeline, dict(self.settings)
        call = inspect.signature(pipe.__call__).parameters
        given["generator"] = generators(noise)[0]
        if self.noise_shape != KEY:
            given["latents"] = noise.to(self.device, self.dtype)
        if "prompt" in call:
            given["prompt"] = prompt
        if ending and self.begins == "conditions":
            given |= {"image": ending[0]} if len(ending) == 1 else {"video": [ending], "frame_index": 0}
        elif ending:
            given[self.begins] = ending[-1] if self.begins == "image" else ending
        return pipe(output_type="pt", **given)[0]

    def _measure(self, prompt: str, call: Any) -> None:
        """Measure the latents' shape, the forwards and the effect of noise, on first steps that are never finished."""
        self.noise_shape, self.dtype = KEY, self.pipeline.dtype
        keys = randn(range(2), KEY)
        with exclusive(self.pipeline, new=True), counting(self.pipeline) as passed:
            step = self._first(prompt, keys[:1])
        steps = getattr(self.pipeline, "_num_timesteps", None) or len(step.scheduler.timesteps)
        self.nfe_per_step = max(1, passed[0]) * steps
        shape, self.dtype = tuple(step.x.shape[1:]), step.x.dtype
        if "latents" in call:
            self.noise_shape, noise = shape, randn([1], shape)
            if rearranged(self._first(prompt, noise).x, noise):
                return
        self.noise_shape = KEY
        again, other = (self._first(prompt, key).x for key in (keys[:1], keys[1:]))
        if not torch.equal(step.x, again) or torch.equal(step.x, other):
            raise ValueError(
                f"{self.name} ignores both `latents` and its generator, so there is nothing to search over"
            )

    def _first(self, prompt: str, noise: Noise) -> Any:
        with exclusive(self.pipeline, new=True):
            return first_step(self.pipeline, lambda: self._call(prompt, self._ending(None), noise))
