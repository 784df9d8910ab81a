"""Stable Diffusion 1, 2, XL and their Turbo versions: the pipeline's own networks in a loop that can branch."""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gensearch import steps as kernels
from gensearch.models.batching import in_batches
from gensearch.models.black_box import describe, label
from gensearch.models.fingerprint import component_hashes
from gensearch.models.options import Batch, Count, Pixels, Scale, Share, checked
from gensearch.models.schedules import find_scheduler, read_schedule
from gensearch.types import Noise, State, Transition
from verifiers.types import Media

PROMPTS_KEPT = 64  # encoded prompts that are remembered; a long one takes about a megabyte


class StableDiffusion:
    """A StableDiffusionPipeline or StableDiffusionXLPipeline, one network pass at a time.

    Noise is N(0, 1) latents. Guidance is on above `guidance_scale` 1 and then takes two passes per step. Between passes
    samples are fp32 whatever the networks compute in. `steps` and `guidance_scale` are by default those of the
    pipeline's own call. `sampler` ("ddim", "euler", "euler_ancestral") and `spacing` replace what its scheduler says; a
    scheduler with other steps gives way to DDIM, with a warning that `notes` keeps.
    Text is encoded once per prompt and remembered: wrap the pipeline again after changing its text encoders.
    """

    verbs = frozenset({"branch", "rewind", "transition", "gradient", "look"})
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
        """Read the pipeline's schedule; the pipeline itself is left as it is.

        Raises ValueError for an unfit option and for what this loop cannot do: pictures that are no multiple of the
        latents' scale, networks that take more than latents and text, and schedules that `read_schedule` refuses.
        """
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
        self.num_steps = len(self.schedule.timesteps)
        self.nfe_per_step = 2 if guidance_scale > 1 else 1
        self.batch_size = batch_size
        self.stochastic = self.schedule.stochastic
        self._text: dict[str, tuple[Tensor, ...]] = {}

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Scale the noise as the schedule asks and take the first network step."""
        if tuple(noise.shape) != (len(prompts), *self.noise_shape):
            wanted = (len(prompts), *self.noise_shape)
            raise ValueError(f"{self.name} takes noise of shape {wanted}, not {tuple(noise.shape)}")
        x = noise.to(self.pipeline._execution_device, torch.float32) * self.schedule.init
        return self._look(tuple(prompts), x, torch.zeros(len(prompts), dtype=torch.long))

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Step every row down its schedule and take the next network step there."""
        kernel = self.transition(state)
        if self.stochastic and noise is None:
            raise ValueError(f"{self.name} takes stochastic steps: give noise for every row")
        if not self.stochastic or noise is None:
            return self._look(state.prompts, kernel.mean, state.step)
        return self._look(state.prompts, kernels.draw(kernel, noise.to(kernel.mean)), state.step)

    def transition(self, state: State) -> Transition:
        """The Gaussian kernel that `advance` draws from; raises ValueError for finished rows."""
        if bool(state.done.any()):
            rows = state.done.nonzero().flatten().tolist()
            raise ValueError(f"rows {rows} are finished after {self.num_steps} steps; leave them out")
        return self.schedule.transition(state.x, state.extra["output"], state.step - 1)

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State:
        """Noise rows back to where they had taken `step` [b] network steps, and take that step anew.

        Starts from x, and for finished rows from the sample; 1 <= step <= state.step.
        """
        if bool(((step < 1) | (step > state.step)).any()):
            raise ValueError(
                f"cannot rewind rows at steps {state.step.tolist()} to {step.tolist()}; go back, to 1 or more"
            )
        level = torch.where(state.done, self.num_steps, state.step - 1)
        a, b = self.schedule.signal, self.schedule.noise
        (done,) = kernels.rows(state.x, state.done)
        x = torch.where(done, state.clean, state.x)
        kernel = kernels.forward(x, a[level], b[level], a[step - 1], b[step - 1])
        return self._look(state.prompts, kernels.draw(kernel, noise.to(x)), step - 1)

    def render(self, state: State) -> Media:
        """Decode the clean estimates to [b, 3, height, width] in [0, 1]; a safety checker in the pipeline is heard."""
        return in_batches(self._decode, self.batch_size, state.clean)

    @property
    def network(self) -> Any:
        """The denoiser."""
        return self.pipeline.unet

    @property
    def pure(self) -> float:
        """The first timestep of the schedule."""
        return float(self.schedule.timesteps[0])

    @property
    def guidance(self) -> float:
        """The guidance scale in effect: 0 where it takes no second pass."""
        return self.guidance_scale if self.nfe_per_step == 2 else 0.0

    def conditions(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """Text embeddings [b, length, width] without guidance; SDXL adds pooled ones [b, width]."""
        encoded = [self._encoded(prompt) for prompt in prompts]
        return tuple(torch.cat([rows[:, -1] for rows in column]) for column in zip(*encoded, strict=True))

    def look(self, network: torch.nn.Module, noise: Noise, text: Tensor, pooled: Tensor | None = None) -> Tensor:
        """What a network of the UNet's kind says about pure noise, fp32 [b, *noise_shape]; no guidance."""
        index = torch.zeros(len(noise), dtype=torch.long)
        x = noise.to(text.device, torch.float32) * self.schedule.init
        seen = self.schedule.scaled(x, index).to(self.network.dtype)
        return self._ask(network, seen, self.schedule.timesteps[index].to(x.device), text, pooled)

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"batch_size": self.batch_size, "size": list(self.size), "notes": list(self.notes)}
        return {**describe(self, self.pipeline, self.settings), **own, "components": self._hashes}

    def _look(self, prompts: tuple[str, ...], x: Tensor, index: Tensor) -> State:
        """One network step at position `index` [b] of the schedule, and what follows from it."""
        seen = self.schedule.scaled(x, index).to(self.network.dtype)
        conditions = [torch.cat(rows) for rows in zip(*(self._encoded(p) for p in prompts), strict=True)]
        timesteps = self.schedule.timesteps[index].to(x.device)
        output = in_batches(self._network, self.batch_size, seen, timesteps, *conditions)
        clean = self.schedule.clean(x, output, index)
        last = index == self.num_steps - 1
        if bool(last.any()):
            (ends,) = kernels.rows(x, last)
            clean = torch.where(ends, self.schedule.transition(x, output, index).mean, clean)
        return State(prompts, index + 1, self.num_steps, x, clean, {"output": output})

    def _network(self, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor | None = None) -> Tensor:
        """One physical batch: what the UNet says after guidance, fp32. Conditions are [b, nfe_per_step, *]."""
        passes = self.nfe_per_step
        pooled = pooled if pooled is None else stacked(pooled)
        output = self._ask(self.network, torch.cat([x] * passes), torch.cat([t] * passes), stacked(text), pooled)
        if passes == 1:
            return output
        without, told = output.chunk(2)
        return guided(without, told, self.guidance_scale, self.guidance_rescale)

    def _ask(self, network: Any, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor | None) -> Tensor:
        """One pass of a network of the UNet's kind, fp32."""
        added = None
        if pooled is not None:
            sizes = torch.tensor([[*self.size, 0, 0, *self.size]], dtype=text.dtype, device=x.device)
            added = {"text_embeds": pooled, "time_ids": sizes.repeat(len(x), 1)}
        return network(x, t, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0].float()

    def _encoded(self, prompt: str) -> tuple[Tensor, ...]:
        """Text embeddings [1, nfe_per_step, length, width], the negative prompt first; SDXL adds pooled ones."""
        if prompt not in self._text:
            while len(self._text) >= PROMPTS_KEPT:
                del self._text[next(iter(self._text))]
            # A constant that outlives the caller's gradient mode: no graph, and no inference tensor either.
            with torch.inference_mode(False), torch.no_grad():
                found = self.pipeline.encode_prompt(
                    prompt=prompt,
                    device=self.pipeline._execution_device,
                    num_images_per_prompt=1,
                    do_classifier_free_guidance=self.nfe_per_step == 2,
                    negative_prompt=self.negative_prompt,
                )
            pairs = [found[i : i + 2] for i in range(0, len(found), 2)]
            self._text[prompt] = tuple(
                torch.stack([without, told] if self.nfe_per_step == 2 else [told], dim=1) for told, without in pairs
            )
        return self._text[prompt]

    def _decode(self, clean: Tensor) -> Media:
        """One physical batch of pictures."""
        vae, config = self._vae, self._vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            mean, std = (torch.tensor(v).view(1, -1, 1, 1).to(clean) for v in (mean, std))
            latents = clean * std / config.scaling_factor + mean
        else:
            latents = clean / config.scaling_factor + (config.get("shift_factor") or 0)
        image = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
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
        return copy.deepcopy(vae).float() if overflows else vae

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return component_hashes(self.pipeline)


def callers_level() -> int:
    """The `stacklevel` of a warning that shall point to the first line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] == "gensearch":
        level, frame = level + 1, frame.f_back
    return level


def stacked(conditions: Tensor) -> Tensor:
    """[b, passes, *] as the network takes it, [passes * b, *]."""
    return conditions.transpose(0, 1).flatten(0, 1)


def guided(without: Tensor, told: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), its spread partly put back.

    `rescale` in [0, 1] is how far back to the conditional output's spread (Lin et al. 2023, arXiv:2305.08891, 3.4).
    """
    output = without + scale * (told - without)
    if not rescale:
        return output
    axes = list(range(1, output.ndim))
    spread = told.std(dim=axes, keepdim=True) / output.std(dim=axes, keepdim=True)
    return rescale * (output * spread) + (1 - rescale) * output


def picture_size(pipeline: Any, height: int | None, width: int | None) -> tuple[int, int]:
    """Height and width in pixels, by default what the network was trained for; raises ValueError for uneven ones."""
    factor, sample = pipeline.vae_scale_factor, pipeline.unet.config.sample_size
    tall, wide = (sample, sample) if isinstance(sample, int) else sample
    size = height or tall * factor, width or wide * factor
    if any(side % factor or side < factor for side in size):
        raise ValueError(
            f"pictures of {size[0]}x{size[1]} are not made of {factor}x{factor} blocks; use multiples of {factor}"
        )
    return size


def latent_shape(pipeline: Any, size: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, height and width of the latents; raises ValueError for a UNet that needs more than latents and text."""
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
