from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from accelerate import cpu_offload_with_hook
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from torch import Tensor

from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.core.types import State, cat
from gensearch.engine.metered import MeteredModel
from gensearch.models.batching import in_batches
from gensearch.models.fingerprint import module_hash
from gensearch.models.load import load
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.models.pipelines import counting
from tests.builders import tiny

PROMPT = "a photo of red star and blue circle"
OTHER = "two green dog"


@pytest.fixture(scope="module")
def sd() -> Any:
    return tiny.stable_diffusion(channels=16)


@pytest.fixture(scope="module")
def sdxl() -> Any:
    return tiny.stable_diffusion_xl()


def zero_snr(kind: type[Any] = DDIMScheduler) -> Any:
    """The schedule of the embedded models."""
    config = dict(prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True)
    return kind(beta_schedule="squaredcos_cap_v2", steps_offset=0, **config, **tiny_clip(kind))


def tiny_clip(kind: type[Any]) -> dict[str, Any]:
    return {"clip_sample": False, "set_alpha_to_one": True} if kind is DDIMScheduler else {}


@torch.no_grad()
def ours(model: StableDiffusion, noise: Tensor, draws: Callable[[int], Tensor] | None = None) -> Tensor:
    """The plain loop, `draws` giving the noise of each step."""
    state = model.start([PROMPT] * len(noise), noise)
    for step in range(1, model.num_steps):
        state = model.advance(state, draws(step) if draws else None)
    return model.render(state)


def theirs(pipeline: Any, noise: Tensor, steps: int, **call: Any) -> Tensor:
    """The pipeline's own call."""
    images = len(noise)
    return pipeline(
        PROMPT, latents=noise, num_images_per_prompt=images, num_inference_steps=steps, output_type="pt", **call
    ).images


# --- the plain pipeline call, bit for bit

CASES = [  # scheduler, steps, guidance, rescale, batch
    (lambda: tiny.scheduler(DDIMScheduler), 5, 1.0, 0.0, 1),
    (lambda: tiny.scheduler(DDIMScheduler, set_alpha_to_one=False), 2, 6.0, 0.0, 1),
    (lambda: tiny.scheduler(DDIMScheduler, timestep_spacing="trailing"), 7, 3.0, 0.0, 2),  # 7 does not divide 1000
    (
        lambda: tiny.scheduler(DDIMScheduler, prediction_type="v_prediction", timestep_spacing="linspace"),
        2,
        0.0,
        0.0,
        2,
    ),
    (lambda: tiny.scheduler(DDIMScheduler, prediction_type="sample"), 2, 0.0, 0.0, 1),
    (lambda: zero_snr(), 1, 0.0, 0.0, 1),
    (lambda: zero_snr(), 5, 3.0, 0.7, 2),
    (lambda: tiny.scheduler(EulerDiscreteScheduler), 5, 0.0, 0.0, 1),
    (lambda: tiny.scheduler(EulerDiscreteScheduler, timestep_spacing="trailing"), 1, 0.0, 0.0, 4),
    (lambda: tiny.scheduler(EulerDiscreteScheduler, timestep_spacing="leading"), 2, 4.0, 0.0, 1),
    (
        lambda: tiny.scheduler(EulerDiscreteScheduler, prediction_type="v_prediction", use_karras_sigmas=True),
        5,
        4.0,
        0.5,
        2,
    ),
    (lambda: zero_snr(EulerDiscreteScheduler), 2, 2.0, 0.0, 1),
]


@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize(("schedule", "steps", "guidance", "rescale", "batch"), CASES)
def test_equals_the_pipelines_own_call(request, family, schedule, steps, guidance, rescale, batch):
    pipeline = request.getfixturevalue(family)
    pipeline.scheduler = schedule()
    model = StableDiffusion(pipeline, steps=steps, guidance_scale=guidance, guidance_rescale=rescale, batch_size=batch)
    noise = randn(range(batch), model.noise_shape)
    made = ours(model, noise)
    assert made.std() > 0.01
    assert torch.equal(made, theirs(pipeline, noise, steps, guidance_scale=guidance, guidance_rescale=rescale))


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_without_options_one_sample_is_the_plain_call(request, family):
    pipeline = request.getfixturevalue(family)
    pipeline.scheduler = tiny.scheduler(EulerDiscreteScheduler)
    model = load(pipeline)
    assert isinstance(model, StableDiffusion)
    noise = randn([4], model.noise_shape)
    plain = pipeline(PROMPT, latents=noise, output_type="pt").images
    assert (model.num_steps, model.guidance_scale) == (50, 7.5 if family == "sd" else 5.0)
    assert torch.equal(ours(model, noise), plain)


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", [None, "blue dog"])
def test_negative_prompts_as_in_the_pipeline(sdxl, zeros, negative):
    sdxl.register_to_config(force_zeros_for_empty_prompt=zeros)
    sdxl.scheduler = tiny.scheduler(EulerDiscreteScheduler)
    model = StableDiffusion(sdxl, steps=2, guidance_scale=5.0, negative_prompt=negative, height=16, width=32)
    noise = randn([3], model.noise_shape)
    assert model.noise_shape == (4, 8, 16)
    call = dict(guidance_scale=5.0, negative_prompt=negative, height=16, width=32)
    assert torch.equal(ours(model, noise), theirs(sdxl, noise, 2, **call))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ancestral_steps_take_the_noise_they_are_given(sd, kind):
    sd.scheduler = tiny.scheduler(EulerAncestralDiscreteScheduler, prediction_type=kind, timestep_spacing="trailing")
    model = StableDiffusion(sd, steps=4, guidance_scale=2.0)
    noise = randn([1], model.noise_shape)
    drawn = [torch.randn(noise.shape, generator=g) for g in [torch.Generator().manual_seed(7)] for _ in range(4)]
    made = ours(model, noise, lambda step: drawn[step - 1])
    generator = torch.Generator().manual_seed(7)
    assert model.stochastic
    assert torch.equal(made, theirs(sd, noise, 4, guidance_scale=2.0, generator=generator))


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_eta_takes_the_noise_it_is_given(sd, eta):
    sd.scheduler = tiny.scheduler(DDIMScheduler)
    model = StableDiffusion(sd, steps=3, guidance_scale=0.0, eta=eta)
    noise = randn([1], model.noise_shape)
    drawn = [torch.randn(noise.shape, generator=g) for g in [torch.Generator().manual_seed(7)] for _ in range(3)]
    made = ours(model, noise, lambda step: drawn[step - 1])
    wanted = theirs(sd, noise, 3, guidance_scale=0.0, eta=eta, generator=torch.Generator().manual_seed(7))
    assert torch.equal(made, wanted)
    assert (made - ours(StableDiffusion(sd, steps=3, guidance_scale=0.0), noise)).abs().max() > 1e-3


# --- laws of states


@pytest.fixture
def walker(sd) -> StableDiffusion:
    """Stochastic, guided, in batches of up to four."""
    sd.scheduler = zero_snr()
    return StableDiffusion(sd, steps=4, guidance_scale=2.0, eta=0.8, batch_size=4)


def same(one: State, two: State) -> None:
    assert one.prompts == two.prompts
    assert torch.equal(one.step, two.step)
    for a, b in [(one.x, two.x), (one.clean, two.clean), (one.extra["output"], two.extra["output"])]:
        assert torch.equal(a, b)


@torch.no_grad()
def begin(model: StableDiffusion, seeds: list[int]) -> State:
    return model.start([PROMPT if seed % 2 else OTHER for seed in seeds], randn(seeds, model.noise_shape))


@torch.no_grad()
def test_gathering_commutes_with_stepping_and_company_changes_no_bit(walker):
    state, noise = begin(walker, [1, 2]), randn([10, 11], walker.noise_shape)
    whole = walker.advance(state, noise)
    for keep in ([1, 0], [1, 1], [0, 0]):
        same(walker.advance(state[keep], noise[keep]), whole[keep])
        assert torch.equal(walker.render(whole[keep]), walker.render(whole)[keep])
    same(begin(walker, [3, 2])[[1]], state[[1]])


@torch.no_grad()
def test_rows_may_stand_at_different_steps(walker):
    noise = randn(range(20, 23), walker.noise_shape)
    early = begin(walker, [1, 1])
    late = walker.advance(walker.advance(begin(walker, [2, 2]), noise[[0, 0]]), noise[[1, 1]])
    both = walker.advance(cat([early[[0]], late[[0]]]), noise[[1, 2]])
    same(both[[0]], walker.advance(early, noise[[1, 1]])[[0]])
    same(both[[1]], walker.advance(late, noise[[2, 2]])[[0]])
    assert both.step.tolist() == [2, 4]
    assert both.done.tolist() == [False, True]


@torch.no_grad()
def test_the_clean_estimate_is_what_a_last_step_would_reach(walker):
    state = begin(walker, [1, 2])
    at = walker.schedule.signal[:1], walker.schedule.noise[:1]
    assert at[0].item() == 0  # pure noise: v is minus the clean estimate
    torch.testing.assert_close(state.clean, -at[1].item() * state.extra["output"])


@torch.no_grad()
def test_transition_is_the_kernel_of_advance(walker):
    state, noise = begin(walker, [1, 2]), randn([8, 9], walker.noise_shape)
    mean, std = walker.transition(state)
    assert mean.shape == std.shape == state.x.shape
    assert std.min() > 0
    assert torch.equal(walker.advance(state, noise).x, mean + std * noise)


@torch.no_grad()
def test_rewinding_is_the_forward_kernel_then_a_network_step(walker):
    noise = randn(range(30, 34), walker.noise_shape)
    state = begin(walker, [1, 2])
    for _ in range(2):
        state = walker.advance(state, noise[:2])
    back = walker.rewind(state, torch.tensor([2, 1]), noise[2:])
    abar = walker.scheduler.alphas_cumprod[walker.scheduler.timesteps]
    ratio = (abar[1] / abar[2]) ** 0.5
    torch.testing.assert_close(back.x[0], ratio * state.x[0] + (1 - abar[1] / abar[2]) ** 0.5 * noise[2])
    assert torch.equal(back.x[1], noise[3])  # nothing is left at the first step of this schedule
    assert back.step.tolist() == [2, 1]
    same(back[[1]], walker.start([PROMPT if s % 2 else OTHER for s in [1, 2]], noise[[2, 3]])[[1]])


@torch.no_grad()
def test_finished_rows_rewind_from_the_sample(walker):
    noise = randn(range(40, 44), walker.noise_shape)
    state = begin(walker, [1])
    for i in range(3):
        state = walker.advance(state, noise[[i]])
    back = walker.rewind(state, torch.tensor([4]), noise[[3]])
    abar = walker.scheduler.alphas_cumprod[walker.scheduler.timesteps[3]]
    torch.testing.assert_close(back.x, abar**0.5 * state.clean + (1 - abar) ** 0.5 * noise[[3]])
    assert back.done.all()


def test_impossible_moves_are_refused(walker):
    with torch.no_grad():
        state = begin(walker, [1, 2])
        done = state
        for _ in range(3):
            done = walker.advance(done, randn([5, 6], walker.noise_shape))
    with pytest.raises(ValueError, match=r"rows \[2, 3\] are finished after 4 steps"):
        walker.advance(cat([state, done]), randn(range(4), walker.noise_shape))
    with pytest.raises(ValueError, match="stochastic steps: give noise"):
        walker.advance(state)
    for step in (0, 2):
        with pytest.raises(ValueError, match="cannot rewind rows at steps"):
            walker.rewind(state, torch.tensor([1, step]), randn([5, 6], walker.noise_shape))
    with pytest.raises(ValueError, match=r"takes noise of shape \(1, 16, 8, 8\), not \(1, 4, 8, 8\)"):
        walker.start([PROMPT], randn([1], (4, 8, 8)))


# --- the account, gradients, weights


@pytest.mark.parametrize(("guidance", "passes"), [(1.0, 1), (1.5, 2)])
@torch.no_grad()
def test_hooks_count_what_the_ledger_counts(sd, guidance, passes):
    sd.scheduler = zero_snr()
    ledger = Ledger()
    raw = StableDiffusion(sd, steps=3, guidance_scale=guidance, batch_size=4)
    model = MeteredModel(raw, ledger)
    with counting(sd) as rows:
        state = model.start([PROMPT] * 5, randn(range(5), raw.noise_shape))
        state = model.advance(state[[0, 1, 2]])
        state = model.rewind(state, torch.tensor([1, 1, 2]), randn(range(3), raw.noise_shape))
    assert (raw.nfe_per_step, ledger.spent.nfe) == (passes, passes * (5 + 3 + 3))
    assert rows[0] == ledger.spent.nfe == passes * (5 + 3 + 3)  # four and one, two and one: nothing is filled up


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_gradients_reach_the_noise_and_weights_keep_their_bits(request, family):
    pipeline = request.getfixturevalue(family)
    pipeline.scheduler = tiny.scheduler(EulerDiscreteScheduler, timestep_spacing="trailing")
    model = StableDiffusion(pipeline, steps=2, guidance_scale=3.0, batch_size=2)
    before = {name: module_hash(pipeline.components[name]) for name in ("unet", "vae", "text_encoder")}
    noise = randn([1, 2, 3], model.noise_shape).requires_grad_()
    with torch.inference_mode():
        ours(model, noise.detach())  # text that was first encoded here must not spoil what follows
    state = model.advance(model.start([PROMPT] * 3, noise))
    score = model.render(state).mean(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(score[1], noise)
    assert gradient.isfinite().all()
    assert gradient[1].abs().max() > 0
    assert not gradient[[0, 2]].any()
    step = 0.05 * gradient[1] / gradient[1].norm()
    with torch.no_grad():
        ends = [ours(model, (noise[[1]] + sign * step).detach()).mean().item() for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 0.1 == pytest.approx(gradient[1].norm().item(), rel=0.05)
    assert before == {name: module_hash(pipeline.components[name]) for name in before}


def test_gradient_mode_is_the_callers(sd):
    sd.scheduler = zero_snr()
    model = StableDiffusion(sd, steps=1, guidance_scale=0.0)
    noise = randn([1], model.noise_shape).requires_grad_()
    with torch.no_grad():
        assert not model.start([PROMPT], noise).clean.requires_grad
    assert model.start([PROMPT], noise).clean.requires_grad
    assert not any(text.requires_grad for text in model._text[PROMPT])


def test_not_a_number_stays_one(sd):
    sd.scheduler = zero_snr()
    model = StableDiffusion(sd, steps=2, guidance_scale=0.0, batch_size=2)
    noise = randn([1, 2], model.noise_shape)
    noise[0] = torch.nan
    made = ours(model, noise)
    assert made[0].isnan().all()
    assert made[1].isfinite().all()


def test_text_is_encoded_once_per_prompt_and_forgotten_in_the_end(sd, monkeypatch):
    monkeypatch.setattr("gensearch.models.native.base.PROMPTS_KEPT", 3)
    sd.scheduler = zero_snr()
    model = StableDiffusion(sd, steps=2, guidance_scale=2.0, batch_size=2)
    calls: list[int] = []
    hook = sd.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    ours(model, randn([1, 2, 3], model.noise_shape))
    hook.remove()
    assert len(calls) == 2  # the prompt and the empty one, for three samples and two steps
    for prompt in ("red", "green", "blue"):
        model._encoded(prompt)
    assert list(model._text) == ["red", "green", "blue"]


def test_a_pipeline_is_asked_once_where_it_runs_and_noise_goes_there(sd, monkeypatch):
    """To tell, a pipeline walks through all its modules: some of the networks' time on small models."""
    asked: list[None] = []
    place = torch.device("cpu")

    def noted(pipeline):
        asked.append(None)
        return place

    monkeypatch.setattr(type(sd), "_execution_device", property(noted))
    model = StableDiffusion(sd, steps=1, guidance_scale=0)
    with torch.no_grad():
        for prompt in (PROMPT, OTHER):
            model.start([prompt], randn([1], model.noise_shape))
    assert len(asked) == 1
    place = torch.device("meta")
    model = StableDiffusion(sd, steps=1, guidance_scale=0)
    monkeypatch.setattr(model, "_encode", lambda prompt: (torch.zeros(1, 1, 4, 8, device="meta"),))
    monkeypatch.setattr(model, "_network", lambda x, t, *conditions: x)
    assert model.start([OTHER], randn([1], model.noise_shape)).x.device.type == "meta"


def test_a_safety_checker_blackens_what_it_flags(sd):
    sd.scheduler = zero_snr()
    model = StableDiffusion(sd, steps=1, guidance_scale=0.0, batch_size=2)
    noise = randn([1, 2], model.noise_shape)
    plain = ours(model, noise)

    class Checked:
        safety_checker = True

        def __getattr__(self, name: str) -> Any:
            return getattr(sd, name)

        def run_safety_checker(self, image: Tensor, device: Any, dtype: Any) -> tuple[Tensor, list[bool]]:
            return image.zero_(), [True, False]

    model.pipeline = Checked()
    checked = ours(model, noise)
    assert not checked[0].any()
    assert torch.equal(checked[1], plain[1])


# --- what it takes and what it refuses


@pytest.mark.parametrize("kind", [PNDMScheduler, DPMSolverMultistepScheduler])
def test_other_samplers_give_way_to_ddim_and_say_so(sd, kind):
    sd.scheduler = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    for make in (load, StableDiffusion):
        with pytest.warns(UserWarning, match=f"{kind.__name__} has no native step") as caught:
            model = make(sd, steps=4, guidance_scale=0.0)
        assert [warning.filename for warning in caught] == [__file__]
    assert isinstance(model, StableDiffusion)
    assert model.notes == (f"{kind.__name__} has no native step; DDIM on its noise levels is used instead",)
    assert model.fingerprint()["notes"] == list(model.notes)
    assert not model.scheduler.config.clip_sample
    assert type(sd.scheduler) is kind
    noise = randn([1], model.noise_shape)
    made = ours(model, noise)
    sd.scheduler = DDIMScheduler.from_config(sd.scheduler.config, clip_sample=False)
    assert torch.equal(made, theirs(sd, noise, 4, guidance_scale=0.0))


def test_sampler_and_spacing_can_be_chosen(sd):
    sd.scheduler = tiny.scheduler(DDIMScheduler)
    model = StableDiffusion(sd, steps=3, guidance_scale=0.0, sampler="euler", spacing="trailing")
    assert model.notes == ()
    noise = randn([1], model.noise_shape)
    made = ours(model, noise)
    sd.scheduler = EulerDiscreteScheduler.from_config(sd.scheduler.config, timestep_spacing="trailing")
    assert torch.equal(made, theirs(sd, noise, 3, guidance_scale=0.0))


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        ({"prediction_type": "flow"}, {}, "unknown prediction type 'flow'"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, {}, "nothing at zero signal-to-noise"),
        ({"thresholding": True}, {}, "dynamic thresholding is for pixel models"),
        ({}, {"sampler": "heun"}, "unknown sampler 'heun'"),
        ({}, {"spacing": "even"}, "unknown spacing 'even'"),
        ({}, {"sampler": "euler", "eta": 0.5}, "eta 0.5 belongs to DDIM"),
        ({}, {"eta": 1.5}, "option eta of StableDiffusion is 1.5: it should be at least 0 and at most 1"),
        ({}, {"steps": 1001}, "1001 steps do not fit"),
        ({}, {"height": 17}, "pictures of 17x16 are not made of 2x2 blocks"),
    ],
)
def test_settings_that_make_no_sense_are_refused(sd, schedule, options, message):
    sd.scheduler = tiny.scheduler(DDIMScheduler, **schedule)
    with pytest.raises(ValueError, match=message):
        StableDiffusion(sd, **options)


def test_the_fingerprint_tells_generators_apart(sd, sdxl):
    sd.scheduler = zero_snr()
    model = StableDiffusion(sd, steps=2, guidance_scale=2.0, batch_size=3)
    found = json.loads(json.dumps(model.fingerprint()))
    assert found == json.loads(json.dumps(StableDiffusion(sd, steps=2, guidance_scale=2.0, batch_size=3).fingerprint()))
    assert set(found["components"]) == {"unet", "vae", "text_encoder", "tokenizer"}
    for options in ({"steps": 3}, {"guidance_scale": 2.5}, {"batch_size": 2}, {"eta": 0.1}, {"height": 32}):
        settings: dict[str, Any] = {"steps": 2, "guidance_scale": 2.0, "batch_size": 3, **options}
        assert StableDiffusion(sd, **settings).fingerprint() != model.fingerprint()
    with torch.no_grad():
        sd.vae.decoder.conv_out.bias[0] += 1
        assert StableDiffusion(sd, steps=2).fingerprint()["components"]["vae"] != found["components"]["vae"]
        sd.vae.decoder.conv_out.bias[0] -= 1


def test_batches_have_few_sizes_and_every_row_comes_back_in_place():
    sizes: list[int] = []

    def double(x: Tensor, y: Tensor) -> Tensor:
        sizes.append(len(x))
        return 2 * x + y[:, None]

    x, y = torch.arange(14.0).reshape(7, 2), torch.arange(7.0)
    assert torch.equal(in_batches(double, 3, x, y), 2 * x + y[:, None])
    assert torch.equal(in_batches(double, 8, x, y), 2 * x + y[:, None])
    assert sizes == [2, 2, 2, 1, 8]


@pytest.mark.parametrize("kind", ["EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler", "CogVideoXDDIMScheduler"])
@pytest.mark.parametrize("sampler", [None, "euler"])
def test_noise_levels_of_another_kind_are_not_taken_over(sd, kind, sampler):
    sd.scheduler = getattr(diffusers, kind)(**({"snr_shift_scale": 2.0} if kind.startswith("Cog") else {}))
    with pytest.raises(ValueError, match=f"{kind} has noise levels of its own kind.*adapter='probed'"):
        StableDiffusion(sd, steps=2, sampler=sampler)


def test_steps_that_begin_past_the_schedule_are_refused(sd):
    sd.scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    assert StableDiffusion(sd, steps=999).num_steps == 999
    with pytest.raises(ValueError, match="1000 steps with this spacing and offset begin past the schedule"):
        StableDiffusion(sd, steps=1000)


def test_a_decoder_that_overflows_is_copied_alone():
    """The hooks of offloading form a chain through all networks of a pipeline."""
    pipeline = tiny.stable_diffusion_xl().to(torch.float16)
    pipeline.vae.register_to_config(force_upcast=True)
    _, first = cpu_offload_with_hook(pipeline.unet, "cpu")
    cpu_offload_with_hook(pipeline.vae, "cpu", prev_module_hook=first)
    copied = StableDiffusion(pipeline, steps=2)._vae
    assert copied is not pipeline.vae
    assert copied.dtype == torch.float32
    assert copied._hf_hook is None
    with torch.no_grad():
        copied.decode(torch.zeros(1, 4, 8, 8))
