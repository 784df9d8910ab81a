"""The base of native adapters: a loop over a pipeline's own networks that can branch, rewind and be differentiated."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gensearch.core import kernels
from gensearch.core.types import Noise, State
from gensearch.core.verbs import Transition
from gensearch.models.batching import check_noise, in_batches, refuse_finished
from gensearch.models.native.schedules import Schedule
from gensearch.models.pipelines import Wrapped, describe
from verifiers.types import Media

PROMPTS_KEPT = 64  # encoded prompts that are remembered; a long one takes about a megabyte


class Native(Wrapped):
    """A text-to-image or text-to-video pipeline, one network pass at a time; subclasses call its networks.

    Noise is N(0, 1) latents. Between passes samples are fp32, whatever the networks compute in. Prompts are encoded
    once and cached: wrap the pipeline again after moving it or changing its text encoders.

    Attributes:
        schedule: Noise levels and steps of the sampler.
        settings: Of the pipeline's call, for the fingerprint.
        notes: What differs from the pipeline's own call.
        size: Height and width in pixels.
        guidance: The guidance scale in effect, 0 without guidance.
    """

    verbs = frozenset({"branch", "rewind", "transition", "gradient", "look"})
    last_layer: str
    name: str
    schedule: Schedule
    settings: dict[str, Any]
    notes: Sequence[str] = ()
    size: tuple[int, int]
    noise_shape: tuple[int, ...]
    nfe_per_step = 1
    batch_size: int
    guidance: float

    def _encode(self, prompt: str) -> tuple[Tensor, ...]:
        """What the network is conditioned on, [1, nfe_per_step, *] each, text embeddings [length, width] first."""
        raise NotImplementedError

    def _network(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """The network's output for one physical batch at timesteps [b]; input and output are fp32 [b, *noise_shape]."""
        raise NotImplementedError

    def _decode(self, clean: Tensor) -> Media:
        """One physical batch of pictures [b, 3, height, width] in [0, 1]."""
        raise NotImplementedError

    @property
    def decoder_batch(self) -> int:
        """Samples that are decoded together; clips are decoded one at a time."""
        return 1 if len(self.noise_shape) == 4 else self.batch_size

    @property
    def network(self) -> Any:
        """The denoiser."""
        return self.pipeline.transformer

    @property
    def num_steps(self) -> int:
        """Network steps of one sample."""
        return len(self.schedule.timesteps)

    @property
    def stochastic(self) -> bool:
        """Whether `advance` reads its noise."""
        return self.schedule.stochastic

    @property
    def pure(self) -> float:
        """The first timestep of the schedule."""
        return float(self.schedule.timesteps[0])

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Scale the noise [b, *noise_shape] as the schedule defines and take the first network step."""
        check_noise(self.name, self.noise_shape, prompts, noise)
        x = noise.to(self.device, torch.float32) * self.schedule.init
        return self._step(tuple(prompts), x, torch.zeros(len(prompts), dtype=torch.long))

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Take every row to the next level of its schedule, and the next network step there.

        Raises:
            ValueError: A row is finished, or the sampler is stochastic and noise is missing.
        """
        kernel = self.transition(state)
        if self.stochastic and noise is None:
            raise ValueError(f"{self.name} takes stochastic steps: give noise for every row")
        if not self.stochastic or noise is None:
            return self._step(state.prompts, kernel.mean, state.step)
        return self._step(state.prompts, kernels.draw(kernel, noise.to(kernel.mean)), state.step)

    def transition(self, state: State) -> Transition:
        """The Gaussian kernel from which `advance` samples.

        Raises:
            ValueError: A row is finished.
        """
        refuse_finished(state)
        return self.schedule.transition(state.x, state.extra["output"], state.step - 1)

    def rewind(self, state: State, step: Tensor, noise: Noise) -> State:
        """Noise rows back to an earlier step by the forward kernel, and take the network step there.

        Args:
            state: Rows start from x, finished ones from the sample.
            step: [b] int64, 1 to state.step.
            noise: [b, *noise_shape].

        Raises:
            ValueError: A step is out of range.
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
        return self._step(state.prompts, kernels.draw(kernel, noise.to(x)), step - 1)

    def render(self, state: State) -> Media:
        """Decode the clean estimates to [b, 3, height, width] in [0, 1]; a safety checker is applied."""
        return in_batches(self._decode, self.decoder_batch, state.clean)

    def conditions(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """What the network is conditioned on without guidance, [b, *] each, text [b, length, width] first."""
        encoded = [self._encoded(prompt) for prompt in prompts]
        return tuple(torch.cat([rows[:, -1] for rows in column]) for column in zip(*encoded, strict=True))

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"batch_size": self.batch_size, "size": list(self.size), "notes": list(self.notes)}
        return {**describe(self, self.pipeline, self.settings), **own, "components": self._hashes}

    def _step(self, prompts: tuple[str, ...], x: Tensor, index: Tensor) -> State:
        """The state after one network step at position `index` [b] of the schedule."""
        scaled = self.schedule.scaled(x, index)
        conditions = [torch.cat(rows) for rows in zip(*(self._encoded(p) for p in prompts), strict=True)]
        timesteps = self.schedule.timesteps[index].to(x.device)
        output = in_batches(self._network, self.batch_size, scaled, timesteps, *conditions)
        clean = self.schedule.clean(x, output, index)
        last = index == self.num_steps - 1
        if bool(last.any()):
            (ends,) = kernels.rows(x, last)
            clean = torch.where(ends, self.schedule.transition(x, output, index).mean, clean)
        return State(prompts, index + 1, self.num_steps, x, clean, {"output": output})

    def _pure(self, noise: Noise, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pure noise as the network takes it, and its timesteps."""
        index = torch.zeros(len(noise), dtype=torch.long)
        x = noise.to(device, torch.float32) * self.schedule.init
        return self.schedule.scaled(x, index), self.schedule.timesteps[index].to(device)

    def _encoded(self, prompt: str) -> tuple[Tensor, ...]:
        """What the network is conditioned on, encoded once per prompt."""
        if prompt not in self._text:
            while len(self._text) >= PROMPTS_KEPT:
                del self._text[next(iter(self._text))]
            # A constant that outlives the caller's gradient mode: no graph, and no inference tensor either.
            with torch.inference_mode(False), torch.no_grad():
                self._text[prompt] = self._encode(prompt)
        return self._text[prompt]

    @cached_property
    def _text(self) -> dict[str, tuple[Tensor, ...]]:
        return {}


def call_settings(
    pipeline: Any, steps: int | None, guidance_scale: float | None, max_sequence_length: int | None
) -> dict[str, Any]:
    """The settings that are given, and the defaults of the pipeline's own call for the others.

    Args:
        pipeline: Of diffusers.
        steps: Network steps.
        guidance_scale: Of classifier-free guidance.
        max_sequence_length: Text tokens of a prompt.
    """
    call = inspect.signature(pipeline.__call__).parameters
    given = {
        "steps": ("num_inference_steps", steps),
        "guidance_scale": ("guidance_scale", guidance_scale),
        "max_sequence_length": ("max_sequence_length", max_sequence_length),
    }
    return {key: call[name].default if value is None else value for key, (name, value) in given.items()}


def multiple(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Height and width in pixels, checked.

    Args:
        size: Height and width.
        factor: Pixels along a side of the smallest block.

    Raises:
        ValueError: A side is no multiple of the factor.
    """
    if any(side % factor or side < factor for side in size):
        raise ValueError(
            f"pictures of {size[0]}x{size[1]} are not made of {factor}x{factor} blocks; use multiples of {factor}"
        )
    return size
