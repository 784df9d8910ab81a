"""Helios chunk by chunk: the pipeline's own clip bit for bit, the laws of chunks, and what it costs."""

from __future__ import annotations

import pytest
import torch

from gensearch import load
from gensearch.models.black_box import generators
from gensearch.models.helios import Helios
from gensearch.noise import remake, step_noise
from gensearch.run import run
from gensearch.sampling import generate, price
from gensearch.search.tree_of_frames import tree_of_frames
from gensearch.testing import ChunkLaws
from gensearch.testing.witness import counting
from tests import tiny_video
from verifiers.random import RandomScore

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its scheduler and NumPy 2

PROMPT = "a photo of a red star"
RECIPE = (("gaussian", 4), ("chunk", 1, 9))


def helios(steps: int = 2, guidance: float = 1.0) -> Helios:
    return Helios(tiny_video.helios(), steps=steps, guidance_scale=guidance, **tiny_video.HELIOS)


class TestLaws(ChunkLaws):
    @pytest.fixture
    def model(self):
        return helios(steps=1)

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.pipeline.transformer}


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_clip_is_the_pipelines_own_with_the_generator_seeded_anew_for_each_chunk(guidance):
    model = helios(guidance=guidance)
    keys = [step_noise([RECIPE], step, model.noise_shape) for step in range(2)]
    first, second = (generators(key)[0] for key in keys)
    chunk = []

    def anew(pipe, step, timestep, tensors):
        if step == 1 and not chunk:
            first.set_state(second.get_state())
            chunk.append(step)
        return {}

    settings = {**tiny_video.HELIOS, "num_inference_steps": 2, "guidance_scale": guidance}
    with counting({"nfe": model.pipeline.transformer}) as seen:
        theirs = model.pipeline(PROMPT, generator=first, output_type="pt", callback_on_step_end=anew, **settings).frames
    assert seen["nfe"] == price(model).nfe == 2 * 2 * (1 + (guidance > 1))
    made = generate(model, [PROMPT], remake(RECIPE, model.noise_shape), [RECIPE])
    assert made.shape == theirs.shape == (1, 17, 3, 16, 16)
    assert torch.equal(made, theirs)
    assert "decode" not in vars(model.pipeline.vae), "the decoder was left replaced"


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
