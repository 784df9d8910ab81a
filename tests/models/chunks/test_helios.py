"""Helios: the pipeline's own clip bit for bit, the laws of chunks, and what it costs."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
import torch

from gensearch import load
from gensearch.core.noise import randn, remake, step_noise
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.chunks.clip_files import load_clips, save_clips
from gensearch.models.chunks.helios import Helios
from gensearch.models.fingerprint import component_hashes
from gensearch.models.pipelines import generators
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.testing import ChunkLaws
from gensearch.testing.witness import Failure, counting
from tests.builders import tiny_video
from tests.builders.shared_prefix import check_shared_prefixes
from verifiers.controls.random import RandomScore

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its scheduler and NumPy 2

PROMPT = "a photo of a red star"
RECIPE = (("gaussian", 4), ("chunk", 1, 9))


def helios(steps: int = 2, guidance: float = 1.0, num_frames: int = 18) -> Helios:
    settings: dict[str, Any] = {**tiny_video.HELIOS, "num_frames": num_frames}
    return Helios(tiny_video.helios(), steps=steps, guidance_scale=guidance, **settings)


class TestLaws(ChunkLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return helios(steps=1)

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.pipeline.transformer}


@pytest.mark.parametrize(("guidance", "chunks"), [(1.0, 2), (3.0, 2), (1.0, 5)])
def test_a_clip_is_the_pipelines_own_with_the_generator_seeded_anew_for_each_chunk(guidance, chunks):
    """It looks back at 7 latent frames, which is less than what precedes the last two chunks of five."""
    model = helios(guidance=guidance, num_frames=9 * chunks)
    first, *others = (generators(step_noise([RECIPE], step, model.noise_shape))[0] for step in range(chunks))

    def anew(pipe, step, timestep, tensors):
        if step == 1 and others:
            first.set_state(others.pop(0).get_state())
        return {}

    with counting({"nfe": model.pipeline.transformer}) as seen:
        theirs = plainly(model, first, callback_on_step_end=anew)
    assert seen["nfe"] == price(model).nfe == 2 * chunks * (1 + (guidance > 1))
    made = generate(model, [PROMPT], remake(RECIPE, model.noise_shape), [RECIPE])
    assert made.shape == theirs.shape == (1, (9 * chunks - 1) // 4 * 4 + 1, 3, 16, 16)
    assert torch.equal(made, theirs)
    assert "decode" not in vars(model.pipeline.vae), "the decoder was left replaced"


def plainly(model: Helios, generator: torch.Generator, **options: Any) -> torch.Tensor:
    """The pipeline's own call."""
    settings = {"num_inference_steps": model.settings["steps"], "guidance_scale": model.settings["guidance_scale"]}
    length = {**tiny_video.HELIOS, "num_frames": model.num_steps * model.window}
    return model.pipeline(PROMPT, generator=generator, output_type="pt", **length, **settings, **options).frames


def standing(pipeline: Any) -> tuple[Any, ...]:
    """All that a search could leave behind in a pipeline: numbers, configurations, hooks and what is replaced."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for part in parts for m in part.modules()]
    configs = dict(pipeline.config), dict(pipeline.scheduler.config), type(pipeline.scheduler)
    return component_hashes(pipeline), configs, hooks, [set(vars(part)) for part in parts], set(vars(pipeline))


class Fails(RandomScore):
    """A verifier that fails when clips are finished."""

    def __call__(self, media, prompts, *, progress=1.0):
        if progress == 1.0:
            raise Failure("as staged")
        return super().__call__(media, prompts, progress=progress)


@pytest.mark.parametrize(("failing", "call"), [("verifier", None), ("transformer", 3), ("vae.post_quant_conv", 3)])
def test_the_pipeline_is_as_before_a_search_that_failed(failing, call):
    """Two first chunks and two second ones: network call 3 is that of the last clip."""
    model = helios(steps=1)
    before = plainly(model, torch.Generator().manual_seed(5))
    stands = standing(model.pipeline)
    verifier = Fails() if failing == "verifier" else RandomScore()
    networks = {} if failing == "verifier" else {"any": attrgetter(failing)(model.pipeline)}
    with counting(networks, fail_at=call), pytest.raises(Failure):
        list(stream(tree_of_frames, model, verifier, PROMPT, branch=2))
    assert standing(model.pipeline) == stands
    assert torch.equal(plainly(model, torch.Generator().manual_seed(5)), before)


def test_a_clip_goes_on_from_its_file(tmp_path):
    """With a pipeline that was built anew, after each of its chunks."""
    model, other = helios(steps=1, num_frames=27), helios(steps=1, num_frames=27)
    state = model.start([PROMPT], randn([1], model.noise_shape))
    files = [tmp_path / str(step) for step in range(1, model.num_steps)]
    for seed, file in enumerate(files, 2):
        save_clips(state, file, model)
        state = model.advance(state, randn([seed], model.noise_shape))
    whole = model.render(state)
    for step, file in enumerate(files):
        again = load_clips(file, other)
        for seed in range(step + 2, len(files) + 2):
            again = other.advance(again, randn([seed], model.noise_shape))
        assert torch.equal(other.render(again), whole)


def test_what_branches_share_is_held_once_and_stays(monkeypatch):
    check_shared_prefixes(helios(steps=1, num_frames=27), monkeypatch)


def test_a_tree_costs_its_chunks():
    model = helios(steps=1)
    with counting({"nfe": model.pipeline.transformer, "decoded": model.pipeline.vae.post_quant_conv}) as seen:
        outcome = run(tree_of_frames, model, RandomScore(), PROMPT, branch=[3, 2], seed=2)
    assert seen["nfe"] == outcome.ledger.spent.nfe == 3 + 2
    assert seen["decoded"] == 3 + 2
    made = generate(model, [PROMPT], remake(outcome.best.recipe, model.noise_shape), [outcome.best.recipe])
    assert torch.equal(made[0], outcome.best.media)


def test_it_is_loaded_for_its_pipeline_and_makes_one_clip_at_a_time():
    model = load(tiny_video.helios(), steps=2, **tiny_video.HELIOS)
    assert isinstance(model, Helios)
    assert (model.num_steps, model.frames, model.window) == (2, (9, 8), 9)
    with pytest.raises(ValueError, match="one clip at a time, not 2"):
        load(tiny_video.helios(), batch_size=2)
