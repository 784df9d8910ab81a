"""The native loops of FLUX and SANA-Sprint: the pipeline's own call, the laws of models, and a look at pure noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from gensearch import load
from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.engine.run import run
from gensearch.models.fingerprint import module_hash
from gensearch.models.native.base import Native
from gensearch.models.native.flux import Flux
from gensearch.models.native.sana_sprint import SanaSprint, as_flow
from gensearch.search import SEARCHES
from gensearch.search.gradient.climb import climb
from gensearch.testing import ModelLaws
from hypernoise.artefact import HyperNoise
from hypernoise.form import DifferenceForm, LowRankForm, TokensForm, build
from hypernoise.manifest import describe
from tests.builders import tiny_dit
from tests.builders.tiny import LENGTH
from verifiers.controls.redness import Redness

PROMPT = "a photo of a red star"
TOKENS: dict[str, Any] = {"max_sequence_length": LENGTH}


def flux(steps: int = 2, batch: int = 2, guided: bool = False, **scheduler: Any) -> Flux:
    pipeline = tiny_dit.flux(**scheduler)
    if guided:
        config = {**pipeline.transformer.config, "guidance_embeds": True}
        pipeline.transformer = tiny_dit.seeded(lambda: type(pipeline.transformer).from_config(config))
    return Flux(pipeline, steps=steps, guidance_scale=4.0, height=16, width=16, batch_size=batch, **TOKENS)


def sprint(steps: int = 2, batch: int = 2) -> SanaSprint:
    settings: dict[str, Any] = {"height": 32, "width": 32, "complex_human_instruction": None, **TOKENS}
    return SanaSprint(tiny_dit.sana_sprint(), steps=steps, batch_size=batch, **settings)


def ours(model: Native, noise: Tensor, draws: list[Tensor]) -> Tensor:
    with torch.no_grad():
        state = model.start([PROMPT] * len(noise), noise)
        for draw in draws[: model.num_steps - 1]:
            state = model.advance(state, draw)
        return model.render(state)


class TestFluxLaws(ModelLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Flux:
        return flux(3)

    @pytest.fixture
    def networks(self, model: Flux) -> dict[str, nn.Module]:
        return {"nfe": model.pipeline.transformer, "decoded": model.pipeline.vae.decoder}


class TestSanaSprintLaws(ModelLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> SanaSprint:
        return sprint(3)

    def test_gradients_are_those_of_the_media(self, model: SanaSprint) -> None:
        """Along random directions finite differences fail: the tiny decoder's ReLU attention jumps where sums vanish.

        They are compared along the slope itself below.
        """
        noise, recipes = randn([1, 2, 3], model.noise_shape), [(("gaussian", seed),) for seed in (1, 2, 3)]
        leaf = noise.clone().requires_grad_()
        media = generate(model, [PROMPT] * 3, leaf, recipes)
        (slope,) = torch.autograd.grad(media[1].sum(), leaf)
        with torch.no_grad():
            assert torch.equal(media, generate(model, [PROMPT] * 3, noise, recipes))
        assert slope.isfinite().all()
        assert slope.flatten(1).any(dim=1).tolist() == [False, True, False]

    @pytest.fixture
    def networks(self, model: SanaSprint) -> dict[str, nn.Module]:
        return {"nfe": model.pipeline.transformer, "decoded": model.pipeline.vae.decoder}


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("scheduler", [{}, {"shift": 3.0}, {"use_dynamic_shifting": True}], ids=str)
def test_flux_equals_the_pipelines_own_call(steps, scheduler, guided):
    model = flux(steps, guided=guided, **scheduler)
    noise = randn([1, 2], model.noise_shape)
    pipe = model.pipeline
    packed = pipe._pack_latents(noise, 2, *model.noise_shape)
    settings = {"num_inference_steps": steps, "guidance_scale": 4.0, "height": 16, "width": 16, **TOKENS}
    with torch.no_grad():
        theirs = pipe([PROMPT] * 2, latents=packed, output_type="pt", **settings).images
    made = ours(model, noise, [noise] * steps)
    assert made.std() > 0.01
    assert (made - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(16, 24), (24, 16)], ids=str)
def test_flux_packs_pictures_that_are_not_square(size):
    model = Flux(tiny_dit.flux(), steps=2, height=size[0], width=size[1], batch_size=2, **TOKENS)
    noise = randn([1, 2], model.noise_shape)
    packed = model.pipeline._pack_latents(noise, 2, *model.noise_shape)
    settings = {"num_inference_steps": 2, "height": size[0], "width": size[1], **TOKENS}
    with torch.no_grad():
        theirs = model.pipeline([PROMPT] * 2, latents=packed, output_type="pt", **settings).images
    made = ours(model, noise, [noise])
    assert made.shape[2:] == size
    assert (made - theirs).abs().max() < 1e-5


def sana_call(
    monkeypatch: pytest.MonkeyPatch, model: SanaSprint, noise: Tensor, draws: list[Tensor], **given: Any
) -> Tensor:
    """The pipeline's own call on our noise, from which its scheduler draws too."""
    steps, left = model.num_steps, iter(draws)
    monkeypatch.setattr("diffusers.schedulers.scheduling_scm.randn_tensor", lambda *_, **__: next(left))
    settings = {"num_inference_steps": steps, "use_resolution_binning": False, "output_type": "pt", **given}
    settings |= {} if steps == 2 else {"intermediate_timesteps": None}
    with torch.no_grad():
        return model.pipeline([PROMPT] * len(noise), latents=noise.clone(), **settings).images


def some_draws(model: Native) -> list[Tensor]:
    return [randn([10 * i, 10 * i + 1], model.noise_shape) for i in range(1, model.num_steps + 1)]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_sana_sprint_equals_the_pipelines_own_call(steps, monkeypatch):
    model = sprint(steps)
    noise, draws = randn([1, 2], model.noise_shape), some_draws(model)
    theirs = sana_call(monkeypatch, model, noise, draws, **tiny_dit.SANA, **TOKENS)
    made = ours(model, noise, draws)
    assert model.stochastic == (steps > 1)
    assert made.std() > 0.01
    assert (made - theirs).abs().max() < 1e-5


def test_without_options_sana_sprint_keeps_the_pipelines_steps_guidance_and_instruction(monkeypatch):
    size: dict[str, Any] = {"height": 32, "width": 64}
    model = SanaSprint(tiny_dit.sana_sprint(), batch_size=2, **size)
    noise, draws = randn([1, 2], model.noise_shape), some_draws(model)
    theirs = sana_call(monkeypatch, model, noise, draws, **size)
    assert model.num_steps == 2
    assert (ours(model, noise, draws) - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [1, 2])
def test_sana_sprint_in_half_precision_equals_the_pipelines_own_call(steps, monkeypatch):
    pipeline = tiny_dit.sana_sprint()
    for name in ("transformer", "text_encoder", "vae"):
        pipeline.components[name].bfloat16()
    size: dict[str, Any] = {"height": 32, "width": 32, "complex_human_instruction": None, **TOKENS}
    model = SanaSprint(pipeline, steps=steps, batch_size=2, **size)
    noise, draws = randn([1, 2], model.noise_shape), some_draws(model)
    theirs = sana_call(monkeypatch, model, noise, draws, **size, output_type="latent")
    with torch.no_grad():
        state = model.start([PROMPT] * 2, noise)
        for draw in draws[: steps - 1]:
            state = model.advance(state, draw)
    assert state.x.dtype == state.clean.dtype == torch.float32
    assert (state.clean - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("model", [flux(1), sprint(1)], ids=["flux", "sana-sprint"])
def test_a_look_at_pure_noise_is_what_the_first_step_sees(model):
    noise = randn([1, 2], model.noise_shape)
    with torch.no_grad():
        state = model.start([PROMPT] * 2, noise)
        said = model.look(model.network, noise, *model.conditions([PROMPT] * 2))
    if isinstance(model, Flux):
        expected = noise - said
    else:  # raw outputs are turned into a trigonometric velocity
        t = torch.full((2,), model.pure)
        shown, s = (value if value.ndim > 1 else value.view(-1, 1, 1, 1) for value in as_flow(noise, t))
        v = ((1 - 2 * s) * shown + (1 - 2 * s + 2 * s**2) * said) / (s**2 + (1 - s) ** 2) ** 0.5
        expected = t.cos().view(-1, 1, 1, 1) * noise - t.sin().view(-1, 1, 1, 1) * v
    assert said.abs().max() > 1e-3
    assert torch.allclose(state.clean, expected, atol=1e-5)


@pytest.mark.parametrize("model", [flux(2), sprint(2)], ids=["flux", "sana-sprint"])
def test_gradients_are_those_of_finite_differences_and_weights_keep_their_bits(model):
    networks = {name: model.pipeline.components[name] for name in ("transformer", "vae")}
    before = {name: module_hash(network) for name, network in networks.items()}
    recipes = [(("gaussian", seed),) for seed in (1, 2)]
    noise = randn([1, 2], model.noise_shape)
    found = climb(model, Redness(), [PROMPT] * 2, [noise], recipes)
    (slope,) = found.slope(model, Ledger())
    step = 0.02 * slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        up, down = (climb(model, Redness(), [PROMPT] * 2, [noise + s * step], recipes).scores.total for s in (1, -1))
    for row in (0, 1):
        assert (up - down)[row].item() / 0.04 == pytest.approx(slope[row].norm().item(), rel=0.05)
    assert before == {name: module_hash(network) for name, network in networks.items()}


@pytest.mark.parametrize(
    "form", [LowRankForm(rank=2), DifferenceForm(rank=2), TokensForm(width=8)], ids=lambda f: f.kind
)
@pytest.mark.parametrize("model", [flux(1), sprint(1)], ids=["flux", "sana-sprint"])
def test_hypernetworks_are_made_from_their_transformers(tmp_path, model, form):
    network = build(form, model)
    conditions = model.conditions([PROMPT] * 2)
    noise = randn([1, 2], model.noise_shape)
    assert torch.equal(network(noise, *conditions), torch.zeros_like(noise))
    learned = HyperNoise(network.eval(), describe(model, form, temperature=0.1, rewards="redness"))
    learned.save_pretrained(tmp_path)
    again = HyperNoise.from_pretrained(tmp_path, model)
    assert torch.equal(again(model, [PROMPT], [3]), randn([3], model.noise_shape))
    found = run(SEARCHES["best_of_n"], model, Redness(), PROMPT, n=2, propose=again)
    assert found.ledger.spent.proposed == 2 * form.passes


def test_loading_picks_them_and_the_probe_stays_available():
    assert isinstance(load(tiny_dit.flux(), height=16, width=16), Flux)
    assert isinstance(load(tiny_dit.sana_sprint(), height=32, width=32), SanaSprint)
    settings = tiny_dit.FAMILIES["flux"][1]
    assert type(load(tiny_dit.flux(), adapter="probed", **settings)).__name__ == "Probed"


def test_stochastic_flow_schedulers_are_left_to_the_probe():
    with pytest.raises(ValueError, match="has no native flow step; use adapter='probed'"):
        flux(stochastic_sampling=True)


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler])
@pytest.mark.parametrize("steps", [1, 2])
def test_schedulers_without_angles_are_left_to_the_probe(kind, steps):
    pipeline = tiny_dit.sana_sprint()
    pipeline.scheduler = kind()
    with pytest.raises(ValueError, match=f"{kind.__name__} has no native consistency step; use adapter='probed'"):
        SanaSprint(pipeline, steps=steps, height=32, width=32)


def test_pictures_of_half_a_token_are_refused():
    with pytest.raises(ValueError, match="pictures of 18x16 are not made of 4x4 blocks; use multiples of 4"):
        Flux(tiny_dit.flux(), height=18, width=16)
