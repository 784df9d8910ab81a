from __future__ import annotations

import copy
import inspect

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    SCMScheduler,
)

from gensearch.core.noise import randn
from gensearch.models.probed.probe import Draws, Step, probe
from tests.builders import tiny_dit
from tests.builders.tiny_dit import FAMILIES


def latents_of(name, rows, seed=0):
    shape = {"flux": (16, 16), "wan": (4, 2, 2, 2), "sana": (4, 16, 16), "sana-sprint": (4, 16, 16)}
    return randn(range(seed, seed + rows), shape.get(name, (4, 8, 8)))


def call(pipeline, settings, latents, **extra):
    prompts = ["a photo of a red star"] * len(latents)
    seeds = [torch.Generator().manual_seed(k) for k in range(len(latents))]
    return pipeline(prompt=prompts, latents=latents, output_type="pt", generator=seeds, **settings, **extra)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_passive_probe_changes_no_bit(name):
    build, settings = FAMILIES[name]
    pipeline = build()
    latents = latents_of(name, 2)
    plain = call(pipeline, settings, latents)
    steps: list[Step] = []
    with probe(pipeline.scheduler, steps.append):
        probed = call(pipeline, settings, latents)
    assert torch.equal(probed, plain)
    assert torch.equal(call(pipeline, settings, latents), plain)
    assert len(steps) == settings["num_inference_steps"]
    assert all(torch.equal(a.previous, b.x) for a, b in zip(steps, steps[1:], strict=False))
    assert all(s.clean.shape == s.x.shape and s.clean.isfinite().all() for s in steps)


def started(scheduler, steps=4):
    scheduler.set_timesteps(steps)
    return scheduler


def test_the_class_comes_back_after_an_exception():
    scheduler = started(DDIMScheduler())

    def fail(step):
        raise KeyError("mine")

    given = (torch.zeros(1, 2), scheduler.timesteps[0], torch.zeros(1, 2))
    with pytest.raises(KeyError, match="mine"), probe(scheduler, fail):
        scheduler.step(*given)
    assert type(scheduler) is DDIMScheduler


def test_the_class_in_between_is_a_subclass_of_the_same_name():
    scheduler = DDIMScheduler()
    with probe(scheduler, lambda step: None):
        assert type(scheduler) is not DDIMScheduler
        assert type(scheduler).__name__ == "DDIMScheduler"
        assert isinstance(scheduler, DDIMScheduler)
    assert type(scheduler) is DDIMScheduler


def test_a_deep_copy_is_seen_and_steps_itself():
    scheduler = started(FlowMatchEulerDiscreteScheduler())
    steps: list[Step] = []
    with probe(scheduler, steps.append):
        twin = copy.deepcopy(scheduler)
        twin.step(torch.ones(1, 2), twin.timesteps[0], torch.zeros(1, 2))
    assert steps[0].scheduler is twin
    assert (twin.step_index, scheduler.step_index) == (1, None)


def test_the_signature_that_pipelines_inspect_is_kept():
    scheduler = DDIMScheduler()
    before = inspect.signature(scheduler.step)
    with probe(scheduler, lambda step: None):
        assert inspect.signature(scheduler.step) == before
    assert "eta" in before.parameters


@pytest.mark.parametrize("kind", [DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler, SCMScheduler])
@pytest.mark.parametrize("as_dict", [False, True])
def test_a_replaced_sample_is_returned_either_way(kind, as_dict):
    scheduler = started(kind(), 2)

    def replace(step):
        step.take()
        step.previous = torch.full_like(step.previous, 7.0)

    with probe(scheduler, replace):
        out = scheduler.step(torch.ones(1, 2), scheduler.timesteps[0], torch.ones(1, 2), return_dict=as_dict)
    assert (out[0] == 7).all()
    assert isinstance(out, tuple) is not as_dict
    assert not as_dict or (out.prev_sample == 7).all()


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_passive_step_returns_what_the_scheduler_returns(as_dict):
    given = (torch.ones(1, 2), started(DDIMScheduler()).timesteps[0], torch.ones(1, 2))
    plain = started(DDIMScheduler()).step(*given, return_dict=as_dict)
    scheduler = started(DDIMScheduler())
    with probe(scheduler, lambda step: None):
        probed = scheduler.step(*given, return_dict=as_dict)
    assert type(probed) is type(plain)
    assert all(torch.equal(probed[i], plain[i]) for i in (0, 1))


def test_replacing_the_last_sample_acts_on_what_consistency_pipelines_decode():
    build, settings = FAMILIES["sana-sprint"]
    pipeline = build()
    latents = latents_of("sana-sprint", 2)

    def blank(step):
        step.take()
        step.previous = torch.zeros_like(step.previous)

    with probe(pipeline.scheduler, blank):
        image = call(pipeline, settings, latents)
    zeros = torch.zeros(2, 4, 16, 16)
    with torch.no_grad():
        decoded = pipeline.vae.decode(zeros, return_dict=False)[0]
    assert torch.equal(image, pipeline.image_processor.postprocess(decoded, output_type="pt"))


def flow_picture(noise, latents, generator=None):
    pipeline = tiny_dit.flux(stochastic_sampling=True)
    settings = FAMILIES["flux"][1]
    with probe(pipeline.scheduler, lambda step: step.take(noise=noise)):
        prompts = ["a cat"] * len(latents)
        return pipeline(prompt=prompts, latents=latents, output_type="pt", generator=generator, **settings)[0]


def test_injected_noise_reaches_a_flow_scheduler_that_gets_no_generator():
    latents = latents_of("flux", 2)
    noise = randn([8, 9], (16, 16))
    before = torch.get_rng_state()
    first = flow_picture(noise, latents)
    assert torch.equal(torch.get_rng_state(), before)
    generators = [torch.Generator().manual_seed(k) for k in (1, 2)]
    assert torch.equal(flow_picture(noise, latents, generators), first)
    swapped = flow_picture(noise.flip(0), latents.flip(0))
    assert torch.equal(swapped.flip(0), first)
    other = flow_picture(torch.stack([noise[0], noise[0]]), latents)
    assert torch.equal(other[0], first[0])
    assert not torch.equal(other[1], first[1])


@pytest.mark.parametrize("generators", [None, "one", "list"])
def test_noise_is_dealt_by_row_whatever_generator_is_passed(generators):
    scheduler = started(EulerAncestralDiscreteScheduler())
    scheduler.scale_model_input(torch.zeros(3, 2), scheduler.timesteps[0])
    noise = randn([1, 2, 3], (2,))
    made = [torch.Generator().manual_seed(k) for k in range(3)]
    given = {None: None, "one": made[0], "list": made}[generators]
    with probe(scheduler, lambda step: step.take(noise=noise)):
        out = scheduler.step(torch.zeros(3, 2), scheduler.timesteps[0], torch.zeros(3, 2), generator=given)
    s, after = scheduler.sigmas[:2]
    up = (after**2 * (s**2 - after**2) / s**2) ** 0.5
    assert torch.allclose(out.prev_sample, noise * up)


def test_asking_twice_for_noise_is_refused():
    with Draws(torch.zeros(2, 3)):
        assert torch.randn((2, 3)).eq(0).all()
        with pytest.raises(ValueError, match="one draw per step"):
            torch.randn((2, 3))


def test_rows_move_with_the_memory_of_a_multistep_solver():
    def run(move_at):
        scheduler = started(DPMSolverMultistepScheduler(solver_order=3), 6)
        x = randn([1, 2], (4,))

        def visit(step):
            step.take([1, 0] if scheduler.step_index == move_at else None)

        with probe(scheduler, visit):
            for t in scheduler.timesteps:
                x = scheduler.step(x.sin(), t, x).prev_sample
        return x

    still = run(None)
    assert torch.equal(run(3), still.flip(0))
    assert torch.equal(run(0), still.flip(0))


def test_a_solver_with_its_own_noise_process_is_refused():
    scheduler = started(DDIMScheduler())
    scheduler.noise_sampler = object()
    with (
        probe(scheduler, lambda step: step.take([1, 0])),
        pytest.raises(ValueError, match="keeps a noise process per sample"),
    ):
        scheduler.step(torch.zeros(2, 2), scheduler.timesteps[0], torch.zeros(2, 2))


def test_probes_of_one_scheduler_may_end_in_any_order():
    scheduler = DDIMScheduler()
    seen = []

    def noting(name):
        return probe(scheduler, lambda step: seen.append(name))

    first, second = noting("a"), noting("b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert type(scheduler) is not DDIMScheduler, "the second one still watches"
    second.__exit__(None, None, None)
    assert type(scheduler) is DDIMScheduler
