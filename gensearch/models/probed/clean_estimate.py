"""The clean estimate x0 behind one scheduler step, for every scheduler whose algebra is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def clean_estimate(scheduler: Any, model_output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """The x0 that a model output implies, before the scheduler takes the step; fp32 [b, *].

    Args:
        scheduler: Of diffusers, known by its class or a parent of it.
        model_output: As for `scheduler.step`, [b, *].
        timestep: The same.
        sample: The same, [b, *].

    Raises:
        ValueError: The scheduler is unknown, or its prediction type is one that it does not take itself.
    """
    for kind in type(scheduler).__mro__:
        if kind.__name__ in FORMULAS:
            x0 = FORMULAS[kind.__name__](scheduler, model_output.float(), timestep, sample.float())
            clean: Tensor = scheduler._threshold_sample(x0) if scheduler.config.get("thresholding") else x0
            return clean
    raise ValueError(
        f"no clean estimate is known for {type(scheduler).__name__}; use BlackBox, or set a scheduler that has the "
        f"same noise levels, if one of these does: {', '.join(FORMULAS)}"
    )


def sigma_now(scheduler: Any, timestep: Any) -> Tensor:
    """The scheduler's sigma at the step it is about to take.

    Args:
        scheduler: With `sigmas`.
        timestep: As for `scheduler.step`.
    """
    if scheduler.step_index is None:
        scheduler._init_step_index(timestep)
    sigma: Tensor = scheduler.sigmas[scheduler.step_index]
    return sigma


def gaussian_path(kind: str, output: Tensor, sample: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x0 for x_t = a x0 + b eps, by what the network predicts; flow has a = 1 - b.

    Args:
        kind: The prediction type of the scheduler.
        output: Of the network, [b, *].
        sample: x_t, [b, *].
        a: Of the step.
        b: Of the step.

    Raises:
        ValueError: The prediction type is unknown.
    """
    if kind == "epsilon":
        return (sample - b * output) / a
    if kind == "v_prediction":
        return a * sample - b * output
    if kind == "flow_prediction":
        return sample - b * output
    if kind in ("sample", "original_sample"):
        return output
    raise ValueError(f"unknown prediction type {kind!r}; known are epsilon, v_prediction, flow_prediction and sample")


def flow(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Rectified flow: x_t = (1 - s) x0 + s eps, v = eps - x0; inverted sigmas are 1 - s, with v = x0 - eps (Mochi)."""
    sigma = sigma_now(scheduler, timestep)
    return sample + (1 - sigma) * output if scheduler.config.get("invert_sigmas") else sample - sigma * output


def solver(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Exponential-integrator solvers, which convert sigma to (a, b) themselves."""
    a, b = scheduler._sigma_to_alpha_sigma_t(sigma_now(scheduler, timestep))
    return gaussian_path(scheduler.config.prediction_type, output, sample, a, b)


def k_diffusion(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Karras et al. 2022 scaling: x_t = x0 + s eps, while v is defined on the variance-preserving path."""
    sigma = sigma_now(scheduler, timestep)
    if scheduler.config.prediction_type == "v_prediction":
        x0 = sample / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5
    else:
        x0 = gaussian_path(scheduler.config.prediction_type, output, sample, torch.ones_like(sigma), sigma)
    return clipped(scheduler, x0)


def clipped(scheduler: Any, x0: Tensor) -> Tensor:
    """x0 held to the range that a scheduler is set to clip to."""
    reach = scheduler.config.get("clip_sample_range")
    return x0.clamp(-reach, reach) if scheduler.config.get("clip_sample") and reach else x0


def unclipped(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Discrete variance-preserving diffusion, indexed by the timestep itself."""
    abar = scheduler.alphas_cumprod[int(timestep)]
    return gaussian_path(scheduler.config.prediction_type, output, sample, abar.sqrt(), (1 - abar).sqrt())


def discrete(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """The same with the clipping that the scheduler does."""
    return clipped(scheduler, unclipped(scheduler, output, timestep, sample))


def consistency(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Latent consistency models: `discrete` between boundary scalings, which is what their pipelines decode."""
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
    clean: Tensor = c_out * discrete(scheduler, output, timestep, sample) + c_skip * sample
    return clean


def trigflow(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """TrigFlow: x_t = cos(t) x0 + sin(t) eps, v = cos(t) eps - sin(t) x0 (Lu & Song 2024, arXiv:2410.11081)."""
    if scheduler.step_index is None:
        scheduler._init_step_index(timestep)
    t = scheduler.timesteps[scheduler.step_index]
    return torch.cos(t) * sample - torch.sin(t) * output


def dataward(scheduler: Any, output: Tensor, timestep: Any, sample: Tensor) -> Tensor:
    """Flow with the opposite sign and time: t = 1 - s and v = x0 - eps."""
    clean: Tensor = sample + (1 - timestep) * output
    return clean


# (scheduler, model output [b, *], timestep, sample [b, *]) -> x0 [b, *]: the arguments of all functions that follow
# `gaussian_path`, as `scheduler.step` takes them.
Formula = Callable[[Any, Tensor, Any, Tensor], Tensor]

FORMULAS: dict[str, Formula] = {
    "FlowMatchEulerDiscreteScheduler": flow,
    "FlowMatchHeunDiscreteScheduler": flow,
    "FlowMatchLCMScheduler": flow,
    "LTXEulerAncestralRFScheduler": flow,
    "MiniMaxH3Scheduler": dataward,
    "SCMScheduler": trigflow,
    "DPMSolverMultistepScheduler": solver,
    "DPMSolverSinglestepScheduler": solver,
    "DEISMultistepScheduler": solver,
    "SASolverScheduler": solver,
    "UniPCMultistepScheduler": solver,
    "EulerDiscreteScheduler": k_diffusion,
    "EulerAncestralDiscreteScheduler": k_diffusion,
    "HeunDiscreteScheduler": k_diffusion,
    "LMSDiscreteScheduler": k_diffusion,
    "DDIMScheduler": discrete,
    "DDIMParallelScheduler": discrete,
    "CogVideoXDDIMScheduler": unclipped,  # whatever its configuration says
    "DDPMScheduler": discrete,
    "DDPMParallelScheduler": discrete,
    "PNDMScheduler": discrete,
    "TCDScheduler": discrete,
    "LCMScheduler": consistency,
}
