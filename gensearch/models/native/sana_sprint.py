"""SANA-Sprint: the pipeline's own transformer in a loop that can branch and be differentiated."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor

from gensearch.core import kernels
from gensearch.core.types import Noise
from gensearch.models.native.base import Native, call_settings, multiple
from gensearch.models.native.schedules import TrigFlow
from gensearch.models.options import Batch, Count, Pixels, Scale, checked
from gensearch.models.pipelines import label
from verifiers.types import Media


class SanaSprint(Native):
    """A SanaSprintPipeline, one network pass at a time; guidance is an input of the network.

    Every step but the last adds fresh noise to its clean estimate, so samples of several steps are stochastic. Two
    steps use the pipeline's intermediate timestep, other numbers are spaced evenly. Sizes are not rounded to those of
    training.

    Args:
        pipeline: A SanaSprintPipeline, which is left as it is.
        steps: Network steps, 1 or more (default: the pipeline's).
        guidance_scale: An input of the network, 0 or more (default: the pipeline's).
        max_sequence_length: Text tokens of a prompt (default: the pipeline's).
        complex_human_instruction: Put before the prompt; None for none (default: the pipeline's).
        height: In pixels, a multiple of the latents' scale (default: the pipeline's).
        width: In pixels, a multiple of the latents' scale (default: the pipeline's).
        batch_size: The largest physical batch.
        name: In logs and records (default: where the pipeline came from).

    Raises:
        ValueError: An option is unfit, a side is no multiple of the latents' scale, or the scheduler is not SCM.
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
        complex_human_instruction: Any = "default",
        height: Pixels | None = None,
        width: Pixels | None = None,
        batch_size: Batch = 1,
        name: str | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.name = name or label(pipeline)
        self.settings = call_settings(pipeline, steps, guidance_scale, max_sequence_length)
        call = inspect.signature(pipeline.__call__).parameters
        default = call["complex_human_instruction"].default
        self.settings["complex_human_instruction"] = (
            default if complex_human_instruction == "default" else complex_human_instruction
        )
        side = pipeline.transformer.config.sample_size * pipeline.vae_scale_factor
        self.size = multiple((height or side, width or side), pipeline.vae_scale_factor)
        tall, wide = (edge // pipeline.vae_scale_factor for edge in self.size)
        self.noise_shape = (pipeline.transformer.config.in_channels, tall, wide)
        self.schedule = read_trigflow(pipeline, self.settings["steps"])
        self.guidance = self.settings["guidance_scale"]
        self.batch_size = batch_size

    def look(self, network: Any, noise: Noise, *conditions: Tensor) -> Tensor:
        """The raw output of a network like the transformer for pure noise, fp32 [b, *noise_shape].

        Not converted to TrigFlow, as in HyperNoise (arXiv:2508.09968), which uses this output as the residual.
        """
        text, mask = conditions
        shown, t = self._pure(noise, text.device)
        return self._ask(network, *as_flow(shown, t), text, mask)

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """One physical batch of trigonometric velocities."""
        text, mask = (condition[:, 0] for condition in conditions)
        shown, s = as_flow(x, t)
        output = self._ask(self.network, shown, s, text, mask)
        (s,) = kernels.rows(x, s)
        return ((1 - 2 * s) * shown + (1 - 2 * s + 2 * s**2) * output) / (s**2 + (1 - s) ** 2) ** 0.5

    def _ask(self, network: Any, shown: Tensor, s: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """One pass of a network like the transformer at flow times s [b], fp32."""
        scale = self.guidance * self.pipeline.transformer.config.guidance_embeds_scale
        output: Tensor = network(
            shown.to(self.network.dtype),
            encoder_hidden_states=text.to(self.network.dtype),
            encoder_attention_mask=mask,
            guidance=torch.full((len(shown),), scale, dtype=text.dtype, device=shown.device),
            timestep=s,
            return_dict=False,
        )[0]
        return output.float()

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, 1, length, width] and their mask [1, 1, length]."""
        text, mask = self.pipeline.encode_prompt(
            prompt,
            device=self.device,
            max_sequence_length=self.settings["max_sequence_length"],
            complex_human_instruction=self.settings["complex_human_instruction"],
        )
        return text[:, None], mask[:, None]

    def _decode(self, clean: Tensor) -> Media:
        """One physical batch of pictures."""
        vae = self.pipeline.vae
        image: Tensor = vae.decode(clean.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
        return (image * 0.5 + 0.5).clamp(0, 1).float()


def as_flow(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """A TrigFlow sample as the rectified flow that the network was trained on: scaled, at sin t / (cos t + sin t).

    Args:
        x: [b, *].
        t: Angles [b].
    """
    s = t.sin() / (t.cos() + t.sin())
    (wide,) = kernels.rows(x, s)
    return x * (wide**2 + (1 - wide) ** 2) ** 0.5, s


def read_trigflow(pipeline: Any, num_steps: int) -> TrigFlow:
    """The angles of the pipeline's own call; the scheduler is left as it is.

    Args:
        pipeline: A SanaSprintPipeline.
        num_steps: Network steps.

    Raises:
        ValueError: The scheduler is not SCM.
    """
    own = copy.deepcopy(pipeline.scheduler)
    if "SCMScheduler" not in {kind.__name__ for kind in type(own).__mro__}:
        raise ValueError(f"{type(own).__name__} has no native consistency step; use adapter='probed'")
    own.set_timesteps(num_steps, **({} if num_steps == 2 else {"intermediate_timesteps": None}))
    return TrigFlow(own.timesteps.cpu())
