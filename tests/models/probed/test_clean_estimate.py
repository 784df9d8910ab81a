"""Clean estimates against an oracle network that knows x0 and computes the noise level from the timestep alone."""

from __future__ import annotations

import inspect

import diffusers
import pytest
import torch

from gensearch.models.probed.clean_estimate import clean_estimate
from gensearch.models.probed.probe import probe

DISCRETE = ["DDIM", "DDPM", "TCD", "PNDM", "DDIMParallel", "DDPMParallel"]
SOLVERS = ["DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver"]
KARRAS = ["EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete"]
FLOWS = ["FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM"]
BETAS = {"beta_start": 0.001, "beta_end": 0.008}

CASES = [(name, "vp", {**BETAS, "prediction_type": p}) for name in DISCRETE for p in ("epsilon", "v_prediction")]
CASES += [(name, "vp", {**BETAS, "prediction_type": p}) for name in SOLVERS for p in ("epsilon", "v_prediction")]
CASES += [("DPMSolverMultistep", "vp", {**BETAS, "algorithm_type": "sde-dpmsolver++"})]
CASES += [("DPMSolverMultistep", "vp", {**BETAS, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"})]
CASES += [(name, "vp", {**BETAS, "prediction_type": "sample"}) for name in ("DDIM", "TCD", "UniPCMultistep")]
CASES += [
    (name, "karras", {**BETAS, "prediction_type": p, "timestep_spacing": "leading"})
    for name in KARRAS
    for p in ("epsilon", "v_prediction")
]
CASES += [(name, "flow", {"shift": 3.0}) for name in FLOWS]
CASES += [("FlowMatchEulerDiscrete", "flow", {"stochastic_sampling": True})]
CASES += [("FlowMatchEulerDiscrete", "inverted", {"invert_sigmas": True, "shift": shift}) for shift in (1.0, 4.0)]
CASES += [
    (name, "flow-solver", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0})
    for name in ("DPMSolverMultistep", "UniPCMultistep")
]
CASES += [("LTXEulerAncestralRF", "flow", {}), ("MiniMaxH3", "dataward", {}), ("SCM", "trigflow", {})]
CASES += [("LCM", "lcm", {**BETAS, "prediction_type": p}) for p in ("epsilon", "v_prediction")]


def predicted(a, b, x, x0, scheduler):
    """What a perfect network says on x = a x0 + b eps."""
    eps = (x - a * x0) / b
    return {"epsilon": eps, "v_prediction": a * eps - b * x0, "sample": x0}[scheduler.config.prediction_type]


def oracle(kind, scheduler, i, t, x, x0):
    """The exact model output at loop counter i and timestep t."""
    if kind in ("vp", "lcm", "karras"):
        a, b = scheduler.alphas_cumprod[int(t)] ** 0.5, (1 - scheduler.alphas_cumprod[int(t)]) ** 0.5
        return predicted(a, b, a * x if kind == "karras" else x, x0, scheduler)
    if kind == "flow":
        return (x - x0) / (t / 1000)
    if kind == "inverted":
        return (x0 - x) / (1 - t / 1000)
    if kind == "flow-solver":  # these round their timesteps
        return (x - x0) / scheduler.sigmas[i]
    if kind == "dataward":
        return (x0 - x) / (1 - t)
    noise = (x - t.cos() * x0) / t.sin()
    return t.cos() * noise - t.sin() * x0


@pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=lambda v: v if isinstance(v, str) else None)
def test_every_step_of_every_scheduler_reveals_x0(name, kind, config):
    scheduler = getattr(diffusers, f"{name}Scheduler")(
        **({"clip_sample": False} if name.startswith(("DDIM", "DDPM")) else {}), **config
    )
    scheduler.set_timesteps(7, **({"intermediate_timesteps": None} if name == "SCM" else {}))
    x0, x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(5)).split(1)
    x = x * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else x
    draws = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": torch.Generator().manual_seed(1)} if draws else {}
    errors = []

    def visit(step):
        level = float(step.timestep) * 10
        keep = 0.25 / (level**2 + 0.25)  # consistency models mix the noisy sample in
        expected = level / (level**2 + 0.25) ** 0.5 * x0 + keep * step.x if kind == "lcm" else x0
        errors.append(float((step.clean - expected).abs().max()))

    with probe(scheduler, visit):
        for i, t in enumerate(scheduler.timesteps[:-1] if name == "SCM" else scheduler.timesteps):
            scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else None
            x = scheduler.step(oracle(kind, scheduler, i, t, x, x0), t, x, return_dict=False, **extra)[0]
    assert len(errors) >= 6
    assert max(errors) <= 5e-6


@pytest.mark.parametrize("threshold", [False, True])
def test_clipping_is_that_of_the_scheduler(threshold):
    scheduler = diffusers.DDIMScheduler(clip_sample=not threshold, thresholding=threshold, clip_sample_range=0.7)
    scheduler.set_timesteps(4)
    output, x = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    t = scheduler.timesteps[1]
    own = scheduler.step(output, t, x).pred_original_sample
    assert torch.allclose(clean_estimate(scheduler, output, t, x), own, atol=1e-6)


def test_a_subclass_is_known_by_its_parent():
    class Mine(diffusers.FlowMatchEulerDiscreteScheduler):
        pass

    scheduler = Mine()
    scheduler.set_timesteps(4)
    x = torch.full((1, 2), 3.0)
    assert torch.equal(clean_estimate(scheduler, torch.ones(1, 2), scheduler.timesteps[0], x), x - 1)


def test_an_unknown_scheduler_is_named():
    with pytest.raises(ValueError, match="no clean estimate is known for RePaintScheduler"):
        clean_estimate(diffusers.RePaintScheduler(), torch.ones(1), 1, torch.ones(1))


@pytest.mark.parametrize(("name", "reach"), [("Heun", 1.0), ("CogVideoXDDIM", None)])
def test_heun_clips_if_told_and_cogvideox_never_does(name, reach):
    kind = getattr(diffusers, {"Heun": "HeunDiscreteScheduler"}.get(name, f"{name}Scheduler"))
    scheduler = kind(clip_sample=True)
    scheduler.set_timesteps(5)
    sample = 30 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    estimate = clean_estimate(scheduler, torch.zeros_like(sample), scheduler.timesteps[2], sample)
    theirs = scheduler.step(torch.zeros_like(sample), scheduler.timesteps[2], sample)
    assert (estimate.abs().max() <= 1) == bool(reach)
    if name == "CogVideoXDDIM":
        torch.testing.assert_close(estimate, theirs.pred_original_sample)
