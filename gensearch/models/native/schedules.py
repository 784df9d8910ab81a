"""Noise levels read from diffusers schedulers, with pure step functions, because schedulers keep state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gensearch.core import kernels as steps
from gensearch.core.verbs import Transition

SAMPLERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
}


class Schedule(Protocol):
    """Noise levels of a sampler and its steps between them; `index` [b] is each row's position, from 0.

    Attributes:
        timesteps: [num_steps], an input of the network.
        signal: [num_steps + 1], a of x = a clean + b eps at each position and, last, at the end.
        noise: [num_steps + 1], b of the same.
        init: Standard deviation of the first sample.
        stochastic: Whether steps draw noise.
    """

    timesteps: Tensor
    signal: Tensor
    noise: Tensor
    init: Tensor | float
    stochastic: bool

    def scaled(self, x: Tensor, index: Tensor) -> Tensor:
        """The network's input for x [b, *]."""

    def clean(self, x: Tensor, output: Tensor, index: Tensor) -> Tensor:
        """The clean estimate behind a network output, both [b, *]."""

    def transition(self, x: Tensor, output: Tensor, index: Tensor) -> Transition:
        """The kernel of the step to the next position."""


class Found(NamedTuple):
    """A copy of a scheduler, the sampler that fits it, and notes on what differs from the pipeline's own."""

    scheduler: Any
    sampler: str
    notes: tuple[str, ...]


def find_scheduler(scheduler: Any, sampler: str | None, spacing: str | None) -> Found:
    """A copy of a pipeline's scheduler, or DDIM on its noise levels if we have no such steps.

    Args:
        scheduler: Of the pipeline.
        sampler: "ddim", "euler" or "euler_ancestral", instead of the pipeline's.
        spacing: "trailing", "leading" or "linspace", instead of the pipeline's.

    Raises:
        ValueError: Sampler or spacing is unknown, or the noise levels do not follow from betas (EDM, flows).
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; known are {', '.join(SAMPLERS)}")
    if spacing not in (None, "trailing", "leading", "linspace"):
        raise ValueError(f"unknown spacing {spacing!r}; known are trailing, leading and linspace")
    names = {kind.__name__ for kind in type(scheduler).__mro__}
    own = next((key for key, name in SAMPLERS.items() if name in names), None)
    chosen = sampler or own or "ddim"
    notes: tuple[str, ...] = ()
    if sampler is None and own is None:
        notes = (f"{type(scheduler).__name__} has no native step; DDIM on its noise levels is used instead",)
    if chosen == own and spacing is None:
        return Found(copy.deepcopy(scheduler), chosen, notes)
    import diffusers

    # Latents are not pixels: DDIM's default of clipping to [-1, 1] must not slip in.
    changes: dict[str, Any] = {"clip_sample": False} if chosen == "ddim" and own != "ddim" else {}
    if spacing is not None:
        changes["timestep_spacing"] = spacing
    taken = getattr(diffusers, SAMPLERS[chosen]).from_config(scheduler.config, **changes)
    theirs, ours = getattr(scheduler, "alphas_cumprod", None), taken.alphas_cumprod
    if theirs is None or theirs.shape != ours.shape or (theirs - ours).abs().max() > 1e-5:
        raise ValueError(
            f"{type(scheduler).__name__} has noise levels of its own kind, which {SAMPLERS[chosen]} cannot take over; "
            "use adapter='probed' or adapter='black_box', which leave the scheduler as it is"
        )
    return Found(taken, chosen, notes)


def read_schedule(scheduler: Any, sampler: str, num_steps: int, eta: float) -> Schedule:
    """The schedule of a scheduler, whose timesteps are set.

    Args:
        scheduler: A copy that may be changed.
        sampler: "ddim", "euler" or "euler_ancestral".
        num_steps: Network steps.
        eta: Of DDIM, 0 (deterministic) to 1 (ancestral).

    Raises:
        ValueError: The sampler cannot follow these settings.
    """
    known = ("epsilon", "v_prediction", "sample")
    kind = scheduler.config.prediction_type
    if kind not in known:
        raise ValueError(f"unknown prediction type {kind!r} in the scheduler; known are {', '.join(known)}")
    if eta and sampler != "ddim":
        raise ValueError(f"eta {eta} belongs to DDIM and the sampler is {sampler}; set sampler='ddim' or eta=0")
    most = scheduler.config.num_train_timesteps
    if num_steps > most:
        raise ValueError(f"{num_steps} steps do not fit the schedule; take 1 to {most}")
    scheduler.set_timesteps(num_steps)
    if scheduler.timesteps.max() > most - 1:
        raise ValueError(
            f"{num_steps} steps with this spacing and offset begin past the schedule; take {num_steps - 1}"
        )
    if sampler == "ddim":
        return Ddim(scheduler, eta)
    return KDiffusion(scheduler, steps.euler if sampler == "euler" else steps.euler_ancestral)


class Ddim:
    """DDIM with eta on a variance-preserving schedule (Song et al. 2021, arXiv:2010.02502).

    Args:
        scheduler: With its timesteps set.
        eta: 0 (deterministic) to 1 (ancestral).

    Raises:
        ValueError: Its settings do not fit DDIM on latents.
    """

    def __init__(self, scheduler: Any, eta: float) -> None:
        config = scheduler.config
        if config.thresholding:
            raise ValueError("dynamic thresholding is for pixel models; set thresholding=False in the scheduler")
        self.kind = config.prediction_type
        self.reach = config.clip_sample_range if config.clip_sample else None
        self.timesteps = scheduler.timesteps.cpu()
        self.init = scheduler.init_noise_sigma
        self.abar = scheduler.alphas_cumprod[self.timesteps]
        if self.kind == "epsilon" and not self.abar.all():
            raise ValueError(
                "predicted noise says nothing at zero signal-to-noise ratio; "
                "set rescale_betas_zero_snr=False, or sampler='euler', which starts just short of it"
            )
        # The scheduler steps by a whole number of training timesteps, which rounded spacings miss by one or so.
        target = self.timesteps - config.num_train_timesteps // scheduler.num_inference_steps
        end = scheduler.final_alpha_cumprod
        self.abar_to = torch.where(target >= 0, scheduler.alphas_cumprod[target.clamp(min=0)], end)
        levels = torch.cat([self.abar, self.abar_to[-1:]])
        self.signal, self.noise = levels**0.5, (1 - levels) ** 0.5
        # The last step draws no noise: it comes after the last network pass, where no search can choose it.
        self.eta = torch.full((len(self.timesteps),), float(eta))
        self.eta[-1] = 0
        self.stochastic = eta > 0

    def scaled(self, x: Tensor, index: Tensor) -> Tensor:
        """The network's input."""
        return x

    def clean(self, x: Tensor, output: Tensor, index: Tensor) -> Tensor:
        """The clean estimate, clipped if the scheduler clips."""
        a, b = self.signal[index], self.noise[index]
        if self.kind == "epsilon":
            clean = steps.eps_to_clean(x, output, a, b)
        else:
            clean = steps.v_to_clean(x, output, a, b) if self.kind == "v_prediction" else output
        return clean if self.reach is None else clean.clamp(-self.reach, self.reach)

    def transition(self, x: Tensor, output: Tensor, index: Tensor) -> Transition:
        """One DDIM step."""
        a, b = self.signal[index], self.noise[index]
        if self.kind == "epsilon":
            eps = output
        else:
            to_eps = steps.v_to_eps if self.kind == "v_prediction" else steps.clean_to_eps
            eps = to_eps(x, output, a, b)
        return steps.ddim(self.clean(x, output, index), eps, self.abar[index], self.abar_to[index], self.eta[index])


class KDiffusion:
    """Euler's method, plain or ancestral, for x = clean + sigma eps (Karras et al. 2022, arXiv:2206.00364).

    Args:
        scheduler: With its timesteps set.
        step: `kernels.euler` or `kernels.euler_ancestral`.
    """

    def __init__(self, scheduler: Any, step: Callable[..., Transition]) -> None:
        self.kind = scheduler.config.prediction_type
        self.timesteps = scheduler.timesteps.cpu()
        self.init = scheduler.init_noise_sigma
        self.sigmas = self.noise = scheduler.sigmas.cpu()
        self.signal = torch.ones_like(self.sigmas)
        self.step = step
        self.stochastic = step is steps.euler_ancestral

    def scaled(self, x: Tensor, index: Tensor) -> Tensor:
        """The network's input: unit variance."""
        (sigma,) = steps.rows(x, self.sigmas[index])
        return x / (sigma**2 + 1) ** 0.5

    def clean(self, x: Tensor, output: Tensor, index: Tensor) -> Tensor:
        """The clean estimate."""
        sigma = self.sigmas[index]
        if self.kind == "epsilon":
            return steps.eps_to_clean(x, output, torch.ones_like(sigma), sigma)
        return steps.k_v_to_clean(x, output, sigma) if self.kind == "v_prediction" else output

    def transition(self, x: Tensor, output: Tensor, index: Tensor) -> Transition:
        """One Euler step."""
        return self.step(x, self.clean(x, output, index), self.sigmas[index], self.sigmas[index + 1])


class Flow:
    """Euler's method for x = (1 - sigma) clean + sigma eps; the network predicts the velocity eps - clean.

    Args:
        sigmas: Levels [num_steps + 1], the last one 0.
        timesteps: [num_steps], an input of the network.
    """

    init: Tensor | float = 1.0
    stochastic = False

    def __init__(self, sigmas: Tensor, timesteps: Tensor) -> None:
        self.noise, self.signal = sigmas, 1 - sigmas
        self.timesteps = timesteps

    def scaled(self, x: Tensor, index: Tensor) -> Tensor:
        """The network's input."""
        return x

    def clean(self, x: Tensor, output: Tensor, index: Tensor) -> Tensor:
        """The clean estimate."""
        return steps.flow_to_clean(x, output, self.noise[index])

    def transition(self, x: Tensor, output: Tensor, index: Tensor) -> Transition:
        """One Euler step."""
        return steps.flow_euler(x, output, self.noise[index], self.noise[index + 1])


class TrigFlow:
    """Consistency steps for x = cos(t) clean + sin(t) eps (Lu & Song 2024, arXiv:2410.11081, sCM).

    Each step adds fresh noise to the clean estimate; samples are in units of the data's standard deviation.

    Args:
        angles: [num_steps + 1], from about pi/2 down to 0.
    """

    init: Tensor | float = 1.0

    def __init__(self, angles: Tensor) -> None:
        self.timesteps = angles[:-1]
        self.signal, self.noise = angles.cos(), angles.sin()
        self.stochastic = len(angles) > 2

    def scaled(self, x: Tensor, index: Tensor) -> Tensor:
        """The network's input, which has unit variance already."""
        return x

    def clean(self, x: Tensor, output: Tensor, index: Tensor) -> Tensor:
        """The clean estimate behind the velocity cos(t) eps - sin(t) clean."""
        return steps.v_to_clean(x, output, self.signal[index], self.noise[index])

    def transition(self, x: Tensor, output: Tensor, index: Tensor) -> Transition:
        """Fresh noise of the next level on the clean estimate."""
        a, b = steps.rows(x, self.signal[index + 1], self.noise[index + 1])
        return Transition(a * self.clean(x, output, index), b.expand_as(x))
