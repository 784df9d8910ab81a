"""Wan text-to-video: the pipeline's own transformer in a loop that can branch, one network pass at a time."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import torch
from torch import Tensor

from gensearch.models.clip_decoder import denormalised
from gensearch.models.native.base import Native, call_settings, multiple
from gensearch.models.native.schedules import Flow
from gensearch.models.native.stable_diffusion import callers_level
from gensearch.models.options import Batch, Count, Pixels, Scale, checked
from gensearch.models.pipelines import label
from verifiers.types import Media


class Wan(Native):
    """A WanPipeline of one transformer (Wan 2.1), one network pass at a time.

    Noise is latents [c, t, h, w] and media are clips [t, 3, height, width]. A multistep solver of the pipeline is
    replaced by Euler steps on its noise levels, with a warning that `notes` keeps.

    Args:
        pipeline: A WanPipeline, which is left as it is.
        steps: Network steps, 1 or more (default: the pipeline's).
        guidance_scale: Of classifier-free guidance, 0 or more; on above 1, where a step takes two forwards (default:
            the pipeline's).
        negative_prompt: For the unconditional row of guidance.
        max_sequence_length: Text tokens of a prompt (default: the pipeline's).
        height: In pixels, a multiple of the latents' scale times the patch size (default: the pipeline's).
        width: In pixels, the same (default: the pipeline's).
        num_frames: 1 more than a multiple of the latents' temporal scale (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, the latents cannot have this size, there is a second transformer, timesteps
            belong to tokens, or the scheduler is no flow.
    """

    verbs = frozenset({"branch", "rewind", "transition"})

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
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        config, network = pipeline.config, pipeline.transformer
        if config.get("boundary_ratio") is not None or config.get("expand_timesteps") or network is None:
            raise ValueError("this Wan has two transformers or timesteps per token; use adapter='probed'")
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        self.settings["negative_prompt"] = negative_prompt
        call = inspect.signature(pipeline.__call__).parameters
        edge = pipeline.vae_scale_factor_spatial
        size = (height or call["height"].default, width or call["width"].default)
        self.size = multiple(size, edge * network.config.patch_size[1])
        self.num_frames = whole_clip(num_frames or call["num_frames"].default, pipeline.vae_scale_factor_temporal)
        length = (self.num_frames - 1) // pipeline.vae_scale_factor_temporal + 1
        self.noise_shape = (network.config.in_channels, length, *(side // edge for side in self.size))
        self.schedule, self.notes = read_video_flow(pipeline.scheduler, self.settings["steps"])
        for note in self.notes:
            warnings.warn(note, UserWarning, stacklevel=callers_level())
        self.nfe_per_step = 2 if self.settings["guidance_scale"] > 1 else 1
        self.guidance = self.settings["guidance_scale"] if self.nfe_per_step == 2 else 0.0
        self.batch_size = batch_size

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        return {**super().fingerprint(), "num_frames": self.num_frames}

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """One physical batch of velocities; with guidance the rows of [b, 2, length, width] take a pass each."""
        (text,) = conditions
        conditional = self._ask(x, t, text[:, -1], "cond")
        if self.nfe_per_step == 1:
            return conditional
        unconditional = self._ask(x, t, text[:, 0], "uncond")
        return unconditional + self.guidance * (conditional - unconditional)

    def _ask(self, x: Tensor, t: Tensor, text: Tensor, context: str) -> Tensor:
        """One pass of the transformer, fp32."""
        with self.network.cache_context(context):
            output: Tensor = self.network(
                hidden_states=x.to(self.network.dtype), timestep=t, encoder_hidden_states=text, return_dict=False
            )[0]
        return output.float()

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, nfe_per_step, length, width], the negative prompt first."""
        conditional, unconditional = self.pipeline.encode_prompt(
            prompt=prompt,
            negative_prompt=self.settings["negative_prompt"],
            do_classifier_free_guidance=self.nfe_per_step == 2,
            max_sequence_length=self.settings["max_sequence_length"],
            device=self.device,
        )
        rows = [unconditional, conditional] if self.nfe_per_step == 2 else [conditional]
        return (torch.stack(rows, 1).to(self.network.dtype),)

    def _decode(self, clean: Tensor) -> Media:
        """One clip [1, t, 3, height, width]."""
        vae = self.pipeline.vae
        video = vae.decode(denormalised(vae, clean.to(vae.dtype)), return_dict=False)[0]
        clip: Media = self.pipeline.video_processor.postprocess_video(video, output_type="pt")
        return clip.float()


def whole_clip(num_frames: int, stride: int) -> int:
    """A number of frames that latents can have, checked.

    Args:
        num_frames: Of a clip.
        stride: Frames per latent frame.

    Raises:
        ValueError: It is not 1 more than a multiple of the stride.
    """
    if (num_frames - 1) % stride:
        near = (num_frames - 1) // stride * stride + 1
        raise ValueError(f"{num_frames} frames are not 1 more than a multiple of {stride}; take {near}")
    return num_frames


def read_video_flow(scheduler: Any, num_steps: int, **given: Any) -> tuple[Flow, tuple[str, ...]]:
    """The flow of a scheduler, and notes on what differs: a multistep solver is replaced by Euler steps.

    Args:
        scheduler: Which is left as it is.
        num_steps: Network steps.
        given: For its `set_timesteps`, instead of the number of steps.

    Raises:
        ValueError: The scheduler is no flow or does not end at 0.
    """
    own, config = copy.deepcopy(scheduler), scheduler.config
    kinds = {kind.__name__ for kind in type(scheduler).__mro__}
    plain = "FlowMatchEulerDiscreteScheduler" in kinds and not config.stochastic_sampling
    multistep = config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
    if not plain and not multistep:
        raise ValueError(f"{type(scheduler).__name__} has no native flow step; use adapter='probed'")
    own.set_timesteps(**(given or {"num_inference_steps": num_steps}))
    sigmas = own.sigmas.float().cpu()
    if sigmas[-1] != 0:
        raise ValueError(f"{type(scheduler).__name__} does not end at clean samples; use adapter='probed'")
    note = f"{type(scheduler).__name__} has no native step; Euler steps on its noise levels are used instead"
    return Flow(sigmas, own.timesteps.cpu()), () if plain else (note,)
