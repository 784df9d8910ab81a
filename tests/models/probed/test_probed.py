from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.core.types import cat
from gensearch.engine.run import run
from gensearch.models.black_box import BlackBox
from gensearch.models.clip_decoder import clip_by_clip
from gensearch.models.pipelines import counting
from gensearch.models.probed import model as probed
from gensearch.models.probed.model import Probed, Running
from gensearch.models.probed.stepper import Call
from gensearch.search.noise.best_of_n import best_of_n
from tests.builders import tiny_dit
from tests.builders.tiny import LENGTH, stable_diffusion, stable_diffusion_xl, unet
from tests.builders.tiny_dit import FAMILIES, SIZE
from verifiers.types import Scores

STAR, CAT = "a photo of a red star", "a photo of a cat"
FOUR: dict[str, Any] = {**SIZE, "num_inference_steps": 4}


def recipes(seeds):
    return [(("gaussian", seed),) for seed in seeds]


def sd(scheduler=None, rows=2, **settings):
    return Probed(stable_diffusion(scheduler), batch_size=rows, **{**FOUR, **settings})


def finish(model, state, noise=None):
    while not state.done.all():
        state = model.advance(state, noise)
    return state


@pytest.mark.parametrize("name", FAMILIES)
def test_stepping_is_the_plain_call_bit_for_bit(name):
    build, settings = FAMILIES[name]
    pipeline = build()
    model = Probed(pipeline, batch_size=2, **settings)
    prompts, noise = [STAR, CAT], randn([3, 4], model.noise_shape)
    seeds = [torch.Generator().manual_seed(k) for k in (8, 9)]
    step_noise = torch.stack([torch.randn(model.noise_shape, generator=g) for g in seeds])
    seeds = [torch.Generator().manual_seed(k) for k in (8, 9)]
    with clip_by_clip(pipeline.vae):  # a batch of clips may decode to other last bits than each clip by itself
        plain = pipeline(prompt=prompts, latents=noise, output_type="pt", generator=seeds, **settings)[0]
    state = model.start(prompts, noise)
    previews = []
    while not state.done.all():
        previews.append(model.render(state))
        state = model.advance(state, step_noise if model.stochastic else None)
    assert torch.equal(model.render(state), plain)
    assert model.num_steps == settings["num_inference_steps"] == len(previews) + 1
    assert all(p.shape == plain.shape and not torch.equal(p, plain) for p in previews)
    assert model.nfe_per_step == (1 if name in ("flux", "sana-sprint") else 2)
    assert model.stochastic is (name == "sana-sprint")


def test_a_call_has_as_many_slots_as_rows_or_the_next_power_of_two():
    model, noise = sd(rows=4), randn([1, 2, 3, 4], (4, 8, 8))
    for rows, slots in ((1, 1), (2, 2), (3, 4), (4, 4)):
        assert len(model.start([STAR] * rows, noise[:rows]).call.prompts) == slots


def test_rows_do_not_depend_on_their_neighbours():
    model = sd(rows=2)
    noise = randn([1, 2, 3], model.noise_shape)
    pair = generate(model, [STAR] * 2, noise[:2], recipes([1, 2]))
    assert torch.equal(generate(model, [STAR] * 2, noise[:2].flip(0), recipes([2, 1])), pair.flip(0))
    assert torch.equal(generate(model, [STAR] * 2, noise[[2, 1]], recipes([3, 2]))[1], pair[1])


SOLVERS = {
    "ddim": lambda: stable_diffusion(DDIMScheduler(clip_sample=False)),
    "euler": lambda: stable_diffusion(EulerDiscreteScheduler()),
    "dpm++2m": lambda: stable_diffusion(DPMSolverMultistepScheduler()),
    "unipc": lambda: stable_diffusion(UniPCMultistepScheduler()),
    "flow-euler": tiny_dit.flux,
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_swapped_and_copied_particles_take_their_results_with_them(solver):
    settings: dict[str, Any] = {**FOUR, **({"max_sequence_length": LENGTH} if solver == "flow-euler" else {})}
    model = Probed(SOLVERS[solver](), batch_size=4, **settings)
    noise = randn([1, 2, 3, 4], model.noise_shape)
    plain = generate(model, [STAR] * 4, noise, recipes([1, 2, 3, 4]))
    state = model.advance(model.start([STAR] * 4, noise))
    state = model.advance(state[[1, 0, 2, 3]])
    state = finish(model, state[[2, 2, 0, 3]])  # the third row into the slot that lost its row, under a used solver
    assert torch.equal(model.render(state), plain[[2, 2, 1, 3]])


def test_particles_may_be_fewer_and_grow_again():
    model = sd(DPMSolverMultistepScheduler(), rows=4)
    noise = randn([1, 2, 3, 4], model.noise_shape)
    plain = generate(model, [STAR] * 4, noise, recipes([1, 2, 3, 4]))
    state = model.advance(model.start([STAR] * 4, noise)[[2]])
    state = model.advance(state[[0, 0]])
    assert state.extra["slot"].tolist() == [2, 0]
    assert torch.equal(model.render(finish(model, state[[1, 0, 1, 0]])), plain[[2] * 4])


def test_more_rows_than_slots_are_refused():
    model = sd()
    with pytest.raises(ValueError, match="3 rows do not fit into one call.*2 slots"):
        model.start([STAR] * 3, randn([1, 2, 3], model.noise_shape))
    state = model.start([STAR] * 2, randn([1, 2], model.noise_shape))
    with pytest.raises(ValueError, match="3 rows do not fit into the 2 slots"):
        model.advance(state[[0, 0, 1]])


def test_a_row_cannot_move_under_another_prompt():
    model = sd()
    state = model.start([STAR, CAT], randn([1, 2], model.noise_shape))
    with pytest.raises(ValueError, match="no slot is free for another row of 'a photo of a red star'"):
        model.advance(state[[0, 0]])
    plain = model.render(finish(model, state))
    again = model.start([STAR, CAT], randn([1, 2], model.noise_shape))
    torch.testing.assert_close(model.render(finish(model, again[[1]])), plain[1:], rtol=0, atol=1e-5)  # decoded alone


def test_an_early_close_leaves_the_pipeline_as_it_was():
    model = sd(DPMSolverMultistepScheduler())
    noise = randn([1, 2], model.noise_shape)
    kind = type(model.pipeline.scheduler)
    plain = generate(model, [STAR] * 2, noise, recipes([1, 2]))
    before = threading.active_count()
    state = model.advance(model.start([STAR] * 2, noise.flip(0)))
    assert threading.active_count() == before + 1
    del state
    gc.collect()
    assert threading.active_count() == before
    assert type(model.pipeline.scheduler) is kind is DPMSolverMultistepScheduler
    assert torch.equal(generate(model, [STAR] * 2, noise, recipes([1, 2])), plain)


def test_a_later_start_ends_the_call_and_old_states_are_spent():
    model = sd()
    noise = randn([1, 2], model.noise_shape)
    first = model.start([STAR] * 2, noise)
    second = model.start([STAR] * 2, noise)
    with pytest.raises(ValueError, match="has ended"):
        model.advance(first)
    model.advance(second)
    with pytest.raises(ValueError, match="has gone past this state"):
        model.advance(second)


def test_finished_states_are_plain_data():
    model = sd()
    noise = randn([1, 2], model.noise_shape)
    first = finish(model, model.start([STAR] * 2, noise))
    second = finish(model, model.start([CAT] * 2, noise))
    media = model.render(cat([second, first])[[3, 0]])
    assert torch.equal(media[0], model.render(first)[1])
    assert torch.equal(media[1], model.render(second)[0])
    with pytest.raises(ValueError, match="finished; render them"):
        model.advance(first)


def test_another_thread_is_told_that_the_pipeline_is_busy():
    model = sd()
    noise = randn([1, 2], model.noise_shape)
    state = model.start([STAR] * 2, noise)
    caught = []

    def intrude(source):
        try:
            source.start([STAR] * 2, noise)
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=intrude, args=(model,))
    thread.start()
    thread.join()
    assert "is in the middle of a call of thread 'MainThread'" in caught[0]
    assert finish(model, state).done.all()


def test_an_error_inside_the_pipeline_reaches_the_caller():
    model = sd()
    noise = randn([1, 2], model.noise_shape)
    state = model.start([STAR] * 2, noise)

    def fail(module, args):
        raise ZeroDivisionError("in the network")

    hook = model.pipeline.unet.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError, match="in the network"):
        model.advance(state)
    hook.remove()
    assert finish(model, model.start([STAR] * 2, noise)).done.all()


@contextmanager
def rows_through(module):
    rows = []
    hook = module.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    yield rows
    hook.remove()


class Brightness:
    name = "brightness"
    differentiable = True

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(media.flatten(1).mean(1))


@pytest.mark.parametrize("adapter", [Probed, BlackBox])
def test_the_ledger_counts_what_hooks_count(adapter):
    pipeline = stable_diffusion()
    shape = [] if adapter is Probed else [(4, 8, 8)]
    model = adapter(pipeline, *shape, batch_size=3, **FOUR)
    with rows_through(pipeline.unet) as passed, rows_through(pipeline.vae.decoder) as decoded:
        ledger = run(best_of_n, model, Brightness(), STAR, n=5 if adapter is BlackBox else 3, limit={"nfe": 100}).ledger
    total = ledger.spent.plus(ledger.padding)
    assert (sum(passed), sum(decoded)) == (total.nfe, total.decoded)
    assert ledger.spent.nfe == (5 if adapter is BlackBox else 3) * 4 * 2


def test_step_noise_belongs_to_the_sample():
    pipeline = tiny_dit.flux(stochastic_sampling=True)
    model = Probed(pipeline, batch_size=3, **{**FAMILIES["flux"][1], "num_inference_steps": 4})
    assert model.stochastic
    seeds = [5, 6, 7]
    before = torch.get_rng_state()
    media = generate(model, [STAR] * 3, randn(seeds, model.noise_shape), recipes(seeds))
    assert torch.equal(torch.get_rng_state(), before)
    alone = generate(model, [STAR], randn([7], model.noise_shape), recipes([7]))
    assert torch.equal(alone, media[2:])
    state = model.start([STAR] * 3, randn(seeds, model.noise_shape))
    with pytest.raises(ValueError, match="is stochastic: give noise"):
        model.advance(state)
    copies = model.advance(state[[0, 0, 0]], randn([1, 1, 2], model.noise_shape))
    assert torch.equal(copies.x[0], copies.x[1])
    assert not torch.equal(copies.x[0], copies.x[2])


def latent_consistency():
    parts = stable_diffusion(LCMScheduler()).components
    parts["unet"] = unet(4, cross_attention_dim=16, time_cond_proj_dim=8)
    parts.pop("image_encoder", None)
    return tiny_dit.quiet(LatentConsistencyModelPipeline(**parts, requires_safety_checker=False))


def test_copies_act_on_what_a_consistency_pipeline_decodes():
    model = Probed(latent_consistency(), batch_size=2, **FOUR)
    noise = randn([1, 2], model.noise_shape)
    steps = [randn([k, k + 50], model.noise_shape) for k in (10, 11, 12)]
    state = model.start([STAR] * 2, noise)
    for own in steps[:2]:
        state = model.advance(state, own)
    whole = model.render(model.advance(state, steps[2]))
    state = model.start([STAR] * 2, noise)
    for own in steps[:2]:
        state = model.advance(state, own)
    copied = model.render(model.advance(state[[1, 1]], steps[2][[1, 1]]))
    assert torch.equal(copied, whole[[1, 1]])


def test_an_unknown_family_finishes_but_has_no_previews():
    class Unheard(StableDiffusionPipeline):
        pass

    pipeline = tiny_dit.quiet(Unheard(**stable_diffusion().components, requires_safety_checker=False))
    model = Probed(pipeline, batch_size=2, **FOUR)
    noise = randn([1, 2], model.noise_shape)
    state = model.start([STAR] * 2, noise)
    with pytest.raises(ValueError, match="cannot show unfinished samples: the decoder of Unheard"):
        model.render(state)
    media = model.render(finish(model, state)[[1, 0]])
    plain = pipeline(prompt=[STAR] * 2, latents=noise, output_type="pt", **FOUR)[0]
    assert torch.equal(media, plain.flip(0))


def test_a_plain_call_in_between_is_an_error_on_both_sides_and_not_a_deadlock():
    model = sd()
    noise = randn([1, 2], model.noise_shape)
    settings = {"prompt": [STAR] * 2, "latents": noise, "output_type": "pt", **FOUR}
    state = model.start([STAR] * 2, noise)
    with pytest.raises(RuntimeError, match="was called while a search waited inside it"):
        model.pipeline(**settings)
    with pytest.raises(RuntimeError, match="was ended from outside"):
        model.advance(state)
    plain = model.pipeline(**settings)[0]
    assert torch.equal(model.render(finish(model, model.start([STAR] * 2, noise))), plain)


def test_one_step_finishes_in_start():
    model = sd(EulerDiscreteScheduler(timestep_spacing="trailing"), num_inference_steps=1, guidance_scale=0.0)
    noise = randn([1], model.noise_shape)
    state = model.start([STAR], noise)
    assert not isinstance(state, Running)
    assert (model.num_steps, model.nfe_per_step, state.step.tolist()) == (1, 1, [1])
    assert torch.isfinite(model.render(state)).all()


def test_a_pipeline_that_ignores_latents_is_refused():
    class Deaf(StableDiffusionPipeline):
        def prepare_latents(self, *args, **kwargs):
            return super().prepare_latents(*args[:-2], torch.Generator().manual_seed(0), None)

    pipeline = tiny_dit.quiet(Deaf(**stable_diffusion().components, requires_safety_checker=False))
    with pytest.raises(ValueError, match="ignores its `latents`"):
        Probed(pipeline, batch_size=2, **FOUR)


def test_settings_that_the_search_owns_are_refused():
    with pytest.raises(ValueError, match="latents, generator cannot be a setting"):
        sd(latents=None, generator=None)


def test_the_fingerprint_tells_runs_apart():
    one, same, other = sd(), sd(), sd(EulerDiscreteScheduler(), guidance_scale=3.0)
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint()["settings"]["num_inference_steps"] == "4"
    changed = {k for k, v in one.fingerprint().items() if other.fingerprint()[k] != v}
    assert changed == {"scheduler", "scheduler_config", "settings"}


def test_nothing_holds_a_graph_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    model = sd(rows=1)
    state = model.start([STAR], randn([1], model.noise_shape))
    media = model.render(finish(model, state))
    assert torch.is_grad_enabled()
    assert not media.requires_grad
    assert not state.clean.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("build", [stable_diffusion, stable_diffusion_xl])
def test_half_precision_has_previews(build):
    model = Probed(build(DDIMScheduler()).to(torch.bfloat16), batch_size=1, num_inference_steps=3, **SIZE)
    media = model.render(model.start([STAR], randn([1], model.noise_shape)))
    assert media.shape == (1, 3, *SIZE.values())
    assert bool(media.isfinite().all())


def test_guidance_that_ends_early_is_refused():
    """As diffusers' guide to callbacks does it: no price per step would be right."""

    def end_guidance(pipeline, step, timestep, given):
        pipeline._guidance_scale = 0.0
        return {"prompt_embeds": given["prompt_embeds"].chunk(2)[-1]}

    changes = {"callback_on_step_end": end_guidance, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    model = sd(guidance_scale=3.0, **changes)
    state = model.start([STAR] * 2, randn([1, 2], model.noise_shape))
    with pytest.raises(ValueError, match="took 4 rows through its denoiser in its first step and 2 in step 2"):
        model.advance(state)


def test_one_text_serves_every_row_and_several_are_refused():
    noise = randn([1, 2], (4, 8, 8))
    one, same = (sd(guidance_scale=3.0, negative_prompt=text) for text in ("blue", ["blue", "blue"]))
    found = [finish(model, model.start([STAR, STAR], noise)).clean for model in (one, same)]
    assert torch.equal(*found)
    with pytest.raises(ValueError, match="negative_prompt has 2 texts that differ"):
        sd(guidance_scale=3.0, negative_prompt=["blue", "red"])


def test_a_scheduler_that_was_exchanged_for_one_that_draws_is_refused():
    model = sd(DDIMScheduler())
    model.pipeline.scheduler = EulerAncestralDiscreteScheduler()
    state = model.start([STAR], randn([1], model.noise_shape))
    with pytest.raises(ValueError, match="asks for noise"):
        model.advance(state)


def test_a_call_starts_nothing_before_it_is_asked():
    started = []

    def begins():
        started.append(1)
        return randn([1], (4, 8, 8))

    call = Call(stable_diffusion(), [STAR], begins)
    time.sleep(0.1)
    assert not started
    call.close()  # one that never started ends at once
    assert not started


def test_passes_are_counted_however_slowly_the_counter_is_installed(monkeypatch):
    @contextmanager
    def late(pipeline):
        time.sleep(0.2)
        with counting(pipeline) as passed:
            yield passed

    model = sd()
    monkeypatch.setattr(probed, "counting", late)
    state = finish(model, model.start([STAR, CAT], randn([1, 2], model.noise_shape)))
    assert state.done.all()
