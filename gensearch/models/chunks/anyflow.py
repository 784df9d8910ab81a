"""AnyFlow-FAR, a chunk-autoregressive video model: the pipeline's own networks with a cache that branches share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gensearch.core.types import Noise
from gensearch.models.chunks.base import Chunks
from gensearch.models.chunks.clip import Chunk
from gensearch.models.chunks.dense_attention import dense_attention
from gensearch.models.clip_decoder import decode_next, denormalised
from gensearch.models.native.base import call_settings, multiple
from gensearch.models.options import Batch, Count, Pixels, Scale, Shape, checked
from gensearch.models.pipelines import Wrapped, describe, label

BLOCK = 16  # pixels to which sides are held by the pipeline


class AnyFlow(Wrapped, Chunks):
    """An AnyFlowFARPipeline, one chunk at a time (Gu et al. 2026, arXiv:2605.13724; FAR, arXiv:2503.19325).

    A chunk takes `steps` forwards, twice as many with guidance above 1, and one more (two) to encode it before the
    next: once for all branches, and cached while any state can go on from there. Noise is that of the longest chunk,
    [c, t, h, w]; shorter ones use its first frames. One clip equals the pipeline's own call on its noise, bit for bit.

    Args:
        pipeline: An AnyFlowFARPipeline, which is left as it is.
        steps: Forwards of a chunk without guidance, 1 or more (default: the pipeline's).
        guidance_scale: Of classifier-free guidance, 0 or more; on above 1 (default: the pipeline's).
        negative_prompt: For the unconditional row of guidance.
        max_sequence_length: Text tokens of a prompt (default: the pipeline's).
        height: In pixels, a multiple of 16 (default: the pipeline's).
        width: In pixels, a multiple of 16 (default: the pipeline's).
        num_frames: Of the whole clip; keeps the first chunks of the partition and must end with one of them.
        chunk_partition: Latent frames of each chunk (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, a side is no multiple of 16, or no chunk ends at `num_frames`.
    """

    reading: int
    rolling = True

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
        chunk_partition: Shape | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        self.settings["negative_prompt"] = negative_prompt
        call = inspect.signature(pipeline.__call__).parameters
        self.size = multiple((height or call["height"].default, width or call["width"].default), BLOCK)
        self.partition = partition_of(pipeline, chunk_partition, num_frames)
        stride = pipeline.vae_scale_factor_temporal
        first, *rest = (stride * count for count in self.partition)
        self.frames = (first - stride + 1, *rest)
        channels, edge = pipeline.transformer.config.in_channels, pipeline.vae_scale_factor_spatial
        self.noise_shape = (channels, max(self.partition), *(side // edge for side in self.size))
        self.num_steps, self.batch_size, self.longest = len(self.partition), batch_size, max(self.partition)
        self.rows = 2 if self.settings["guidance_scale"] > 1 else 1
        own = copy.deepcopy(pipeline.scheduler)
        own.set_timesteps(self.settings["steps"])
        self.sigmas, self.scale = own.sigmas, own.config.num_train_timesteps
        self.nfe_per_step = self.rows * len(self._intervals)
        self.reading = self.rows

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"batch_size": self.batch_size, "size": list(self.size), "chunk_partition": list(self.partition)}
        return {**describe(self, self.pipeline, self.settings), **own, "components": self._hashes}

    @cached_property
    def _text(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def _masks(self) -> dict[int, Any]:
        return {}

    @cached_property
    def _matrices(self) -> dict[int, tuple[Any, Tensor]]:
        return {}

    @property
    def _intervals(self) -> list[tuple[float, float]]:
        """The noise levels between which each pass goes; double precision, as in the scheduler."""
        sigmas = self.sigmas.tolist()
        return [(a, b) for a, b in zip(sigmas, sigmas[1:], strict=False) if a != b]

    def _conditions(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings [rows * b, length, width], unconditional rows first; encoded once per prompt."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._text:
                conditional, unconditional = self.pipeline.encode_prompt(
                    prompt=prompt,
                    negative_prompt=self.settings["negative_prompt"],
                    do_classifier_free_guidance=self.rows == 2,
                    max_sequence_length=self.settings["max_sequence_length"],
                    device=self.device,
                )
                rows = [unconditional, conditional] if self.rows == 2 else [conditional]
                self._text[prompt] = torch.stack(rows, 1)
        text = torch.cat([self._text[prompt] for prompt in prompts])
        return text.transpose(0, 1).flatten(0, 1).to(self.pipeline.transformer.dtype)

    def _make(self, prompts: Sequence[str], before: Sequence[Chunk | None], memory: Sequence[Any], noise: Noise) -> Any:
        """The flow map's Euler steps of one chunk, with what is remembered of those before."""
        transformer, device = self.pipeline.transformer, self.device
        index = len(before[0].clip()) if before[0] else 0
        partition = list(self.partition[: index + 1])
        x = noise[:, :, : partition[-1]].to(device, torch.float32).to(transformer.dtype).permute(0, 2, 1, 3, 4)
        text, cache = self._conditions(prompts), self._cache(memory, device)
        shape = (self.rows * len(x), x.shape[1])
        with dense_attention(device, self._matrices):
            for start, end in self._intervals:
                output, _ = transformer(
                    hidden_states=torch.cat([x] * self.rows) if self.rows == 2 else x,
                    timestep=torch.full(shape, start * self.scale, dtype=torch.float64, device=device),
                    r_timestep=torch.full(shape, end * self.scale, dtype=torch.float64, device=device),
                    encoder_hidden_states=text,
                    return_dict=False,
                    chunk_partition=partition,
                    kv_cache=cache,
                    kv_cache_flag={"num_cached_chunks": index, "is_cache_step": False},
                )
                if self.rows == 2:
                    unconditional, conditional = output.chunk(2)
                    output = unconditional + self.settings["guidance_scale"] * (conditional - unconditional)
                x = (x - torch.full((1,) * x.ndim, start - end, dtype=torch.float64, device=device) * output).to(
                    output.dtype
                )
        return x.permute(0, 2, 1, 3, 4)

    def _read(self, chunks: Sequence[Chunk]) -> list[Any]:
        """Keys and values of every layer [2, rows, heads, tokens, width], full and compressed, of each clip."""
        transformer, device = self.pipeline.transformer, self.device
        clips = torch.stack([torch.cat([part.sample for part in chunk.clip()], 1) for chunk in chunks])
        latents = clips.permute(0, 2, 1, 3, 4).to(device, transformer.dtype)
        partition, config = list(self.partition[: len(chunks[0].clip())]), transformer.config
        squeezed = max(0, len(partition) - (config.full_chunk_limit - 1))
        tall, wide = latents.shape[-2:]
        sizes = {
            name: sum(counts) * (tall // patch[1]) * (wide // patch[2])
            for name, counts, patch in (
                ("full_cache", partition[squeezed:], config.patch_size),
                ("compressed_cache", partition[:squeezed], config.compressed_patch_size),
            )
        }
        batch, heads, width = self.rows * len(chunks), config.num_attention_heads, config.attention_head_dim
        cache = {
            layer: {name: latents.new_zeros(2, batch, heads, size, width) for name, size in sizes.items()}
            for layer in range(config.num_layers)
        }
        now = torch.zeros(batch, latents.shape[1], dtype=torch.long, device=device)
        with dense_attention(device, self._matrices):
            transformer(
                hidden_states=torch.cat([latents] * self.rows) if self.rows == 2 else latents,
                chunk_partition=partition,
                timestep=now,
                r_timestep=now,
                encoder_hidden_states=self._conditions([chunk.prompt for chunk in chunks]),
                attention_mask=self._mask(partition, tall, wide, device),
                return_dict=False,
                kv_cache=cache,
                kv_cache_flag={"num_cached_chunks": len(partition) - 1, "is_cache_step": True},
            )
        return [
            [{name: own[:, row :: len(chunks)].clone() for name, own in layer.items()} for layer in cache.values()]
            for row in range(len(chunks))
        ]

    def _mask(self, partition: list[int], tall: int, wide: int, device: Any) -> Any:
        """Who may attend to whom among so many chunks, built once."""
        if len(partition) not in self._masks:
            self._masks[len(partition)] = self.pipeline.transformer.build_attention_mask(
                chunk_partition=partition, height=tall, width=wide, device=device, mode="cache"
            )
        return self._masks[len(partition)]

    def _cache(self, memory: Sequence[Any], device: Any) -> dict[int, dict[str, Tensor]]:
        """The memories of one physical batch as the network takes them: unconditional rows first, as the text."""
        config, dtype = self.pipeline.transformer.config, self.pipeline.transformer.dtype
        if memory[0] is None:
            batch = self.rows * len(memory)
            empty = torch.zeros(
                2, batch, config.num_attention_heads, 0, config.attention_head_dim, device=device, dtype=dtype
            )
            return {layer: {"full_cache": empty, "compressed_cache": empty} for layer in range(config.num_layers)}
        return {
            layer: {
                name: torch.stack([own[layer][name] for own in memory], 2).flatten(1, 2) for name in memory[0][layer]
            }
            for layer in range(config.num_layers)
        }

    def _show(self, chunk: Chunk, kept: Any) -> tuple[Tensor, Any]:
        """The next frames of the causal decoder."""
        vae = self.pipeline.vae
        latents = chunk.sample[None].to(self.device, vae.dtype)
        video, kept = decode_next(vae, denormalised(vae, latents), kept)
        frames = self.pipeline.video_processor.postprocess_video(video, output_type="pt")[0]
        return frames.float(), kept


def partition_of(pipeline: Any, partition: Sequence[int] | None, num_frames: int | None) -> tuple[int, ...]:
    """Latent frames of each chunk.

    Args:
        pipeline: An AnyFlowFARPipeline.
        partition: Latent frames of each chunk; None for the pipeline's.
        num_frames: Frames of the clip; None for all chunks.

    Raises:
        ValueError: No chunk ends after `num_frames`.
    """
    chunks = tuple(partition or pipeline.transformer.config.chunk_partition)
    if num_frames is None:
        return chunks
    stride = pipeline.vae_scale_factor_temporal
    ends = [stride * (sum(chunks[: count + 1]) - 1) + 1 for count in range(len(chunks))]
    if num_frames not in ends:
        raise ValueError(f"no chunk ends after {num_frames} frames; take one of {ends} or another chunk_partition")
    return chunks[: ends.index(num_frames) + 1]
