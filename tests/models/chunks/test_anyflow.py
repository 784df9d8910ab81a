"""AnyFlow-FAR: the pipeline's own clip bit for bit, the laws of chunks, and what branches cost."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention as flex

from gensearch import load
from gensearch.core.noise import randn, remake, step_noise
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.chunks.anyflow import AnyFlow
from gensearch.models.chunks.clip_files import load_clips, save_clips
from gensearch.models.chunks.dense_attention import attention, dense_attention
from gensearch.models.fingerprint import component_hashes
from gensearch.models.toy.chunks import ToyChunks
from gensearch.search.chunks.tree_of_frames import tree_of_frames
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing import ChunkLaws
from gensearch.testing.witness import Failure, counting
from tests.builders import tiny_video
from tests.builders.shared_prefix import check_shared_prefixes
from tests.builders.tiny import LENGTH
from verifiers.controls.random import RandomScore

PROMPT = "a photo of a red star"
SIZE: dict[str, Any] = {"height": 32, "width": 32, "max_sequence_length": LENGTH}


def anyflow(steps: int = 2, batch: int = 1, guidance: float = 1.0, **config: Any) -> AnyFlow:
    pipeline = tiny_video.anyflow(**config)
    return AnyFlow(pipeline, steps=steps, guidance_scale=guidance, batch_size=batch, **SIZE)


def whole(model: AnyFlow, recipe: Any) -> torch.Tensor:
    """The noise of a whole clip, as the pipeline takes it."""
    parts = [step_noise([recipe], step, model.noise_shape) for step in range(model.num_steps)]
    return torch.cat([noise[:, :, :count] for noise, count in zip(parts, model.partition, strict=True)], 2)


def plainly(model: AnyFlow, recipe: Any, output: str = "pt") -> torch.Tensor:
    """The pipeline's own call."""
    settings = {**tiny_video.ANYFLOW, "num_inference_steps": model.settings["steps"]}
    return model.pipeline(
        PROMPT,
        latents=whole(model, recipe),
        num_frames=sum(model.frames),
        guidance_scale=model.settings["guidance_scale"],
        chunk_partition=list(model.partition),
        output_type=output,
        **settings,
    ).frames


def ours(model: AnyFlow, recipe: Any) -> torch.Tensor:
    return generate(model, [PROMPT], remake(recipe, model.noise_shape), [recipe])


class TestLaws(ChunkLaws):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return anyflow(steps=1, batch=4, partition=(1, 1))

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.pipeline.transformer}


RECIPE = (("gaussian", 3), ("chunk", 2, 5))


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_a_clip_is_that_of_the_pipelines_own_call_bit_for_bit():
    model = anyflow(steps=1)
    clip = ours(model, RECIPE)
    assert torch.equal(clip, plainly(model, RECIPE)), "attention as plain sums has other bits than torch's own way"


@pytest.mark.parametrize(
    ("guidance", "partition", "limit"), [(3.0, (1, 2, 1, 1), 2), (1.0, (2, 1), 3), (1.0, (1, 1, 1, 1), 4)], ids=str
)
def test_clips_of_all_kinds_are_those_of_the_pipelines_own_call(guidance, partition, limit):
    model = anyflow(guidance=guidance, partition=partition, full_chunk_limit=limit)
    before = component_hashes(model.pipeline)
    with dense_attention(torch.device("cpu"), {}), counting({"nfe": model.pipeline.transformer}) as seen:
        theirs = plainly(model, RECIPE)
    rows, chunks = int(guidance > 1) + 1, len(partition)
    assert seen["nfe"] == rows * (2 * chunks + chunks - 1) == price(model).nfe
    clip = ours(model, RECIPE)
    assert torch.equal(clip, theirs)
    assert clip.std() > 0.01
    state = model.start([PROMPT], step_noise([RECIPE], 0, model.noise_shape))
    for step in range(1, chunks):
        state = model.advance(state, step_noise([RECIPE], step, model.noise_shape))
    latents = torch.cat([part.sample for part in state.extra["clip"][0].clip()], 1)
    with dense_attention(torch.device("cpu"), {}):
        assert torch.equal(latents, plainly(model, RECIPE, "latent")[0])
    assert component_hashes(model.pipeline) == before


def test_attention_keeps_to_masks_and_scales():
    query, key, value = (randn([seed], (2, 5, 8)) for seed in (1, 2, 3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    found = attention(query, key, value, mask, None)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(found, expected)
    flat = attention(query, key, value, None, 0.0)
    torch.testing.assert_close(flat, value.mean(2, keepdim=True).expand_as(flat))


def test_a_tree_costs_its_chunks_and_one_reading_for_each_clip_that_goes_on():
    model = anyflow()
    branch, keep = [3, 2, 2], [2, 1, 1]
    with counting({"nfe": model.pipeline.transformer}) as seen:
        outcome = run(tree_of_frames, model, RandomScore(), PROMPT, branch=branch, keep=keep, seed=4)
    chunks, kept = 3 + 2 * 2 + 1 * 2, 2 + 1
    assert seen["nfe"] == outcome.ledger.spent.nfe == 2 * chunks + kept
    assert outcome.ledger.spent.decoded == outcome.ledger.spent.scored == chunks
    assert torch.equal(ours(model, outcome.best.recipe)[0], outcome.best.media)


def test_a_mask_lives_as_long_as_its_matrix():
    """Python gives the id of what is gone to the next object of its size, which would be taken for it."""
    masks: dict[Any, Any] = {}
    x, seen = torch.zeros(1, 1, 4, 2), []
    values = torch.arange(4.0)[None, None, :, None].expand(1, 1, 4, 2)
    with dense_attention(torch.device("cpu"), masks):
        for width in (1, 2, 3, 4):

            def below(b, h, q, k, w=width):
                return k < w

            mask = flex.create_block_mask(below, None, None, 4, 4, device="cpu")
            found = flex.flex_attention(x, x, values, block_mask=mask)
            assert float(found[0, 0, 0, 0]) == (width - 1) / 2
            seen.append(weakref.ref(mask))
            del mask
    gc.collect()
    assert all(mask() is not None for mask in seen)


def test_what_branches_share_is_held_once_and_stays(monkeypatch):
    check_shared_prefixes(anyflow(steps=1), monkeypatch)


def test_every_latent_frame_is_decoded_once():
    model = anyflow(steps=1)
    with counting({"decoded": model.pipeline.vae.decoder}) as seen:
        run(tree_of_frames, model, RandomScore(), PROMPT, branch=[2, 2, 2], keep=1, seed=4)
    assert seen["decoded"] == 2 * (1 + 2 + 1)


def test_a_tree_that_prunes_at_its_end_is_best_of_n_and_the_pipeline_is_as_before():
    model = anyflow(steps=1)
    with dense_attention(torch.device("cpu"), {}):
        before = plainly(model, RECIPE)
    tree = run(tree_of_frames, model, RandomScore(), PROMPT, branch=[3, 1], keep=3, seed=2)
    linear = run(best_of_n, model, RandomScore(), PROMPT, n=3, seed=2)
    assert torch.equal(tree.best.media, linear.best.media)
    assert tree.best.recipe == linear.best.recipe
    with counting({"nfe": model.pipeline.transformer}, fail_at=4), pytest.raises(Failure):
        list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=2))
    with dense_attention(torch.device("cpu"), {}):
        assert torch.equal(plainly(model, RECIPE), before)


def test_options_are_those_of_the_pipeline_and_chunks_end_where_they_end():
    pipeline = tiny_video.anyflow(partition=(1, 2, 1))
    model = load(pipeline, **SIZE)
    assert isinstance(model, AnyFlow)
    assert (model.settings["steps"], model.settings["guidance_scale"]) == (50, 1.0)
    assert model.frames == (1, 8, 4)
    assert list(accumulate(model.frames)) == [1, 9, 13]
    shorter, halved = load(pipeline, num_frames=9, **SIZE), load(pipeline, chunk_partition=(2, 2), **SIZE)
    assert isinstance(shorter, AnyFlow)
    assert isinstance(halved, AnyFlow)
    assert (shorter.partition, halved.frames) == ((1, 2), (5, 8))
    with pytest.raises(ValueError, match=r"no chunk ends after 10 frames; take one of \[1, 9, 13\]"):
        load(pipeline, num_frames=10, **SIZE)
    with pytest.raises(ValueError, match="use multiples of 16"):
        load(pipeline, height=40, width=32)
    with pytest.raises(ValueError, match="takes noise of shape"):
        model.start([PROMPT], torch.zeros(1, 4, 1, 4, 4))


# --- clips on disk


GO_ON = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from gensearch.models.chunks.clip_files import load_clips
from gensearch.models.toy.chunks import ToyChunks
from gensearch.core.noise import randn
torch.set_num_threads(1)
folder = Path(sys.argv[1])
model = ToyChunks(num_steps=3)
state = model.advance(load_clips(folder / "clips.safetensors", model), randn([5, 6], model.noise_shape))
save_file({"media": model.render(state)}, folder / "media.safetensors")
"""


@pytest.mark.slow
def test_another_process_goes_on_bit_for_bit(tmp_path):
    from safetensors.torch import load_file

    model = ToyChunks(num_steps=3)
    state = model.advance(
        model.start([PROMPT], randn([1], model.noise_shape))[[0, 0]], randn([2, 3], model.noise_shape)
    )
    save_clips(state, tmp_path / "clips.safetensors", model)
    done = subprocess.run([sys.executable, "-c", GO_ON, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = model.render(model.advance(state, randn([5, 6], model.noise_shape)))
    assert torch.equal(load_file(tmp_path / "media.safetensors")["media"], expected)


def test_a_clip_goes_on_from_its_file(tmp_path):
    model = anyflow(steps=1)
    state = model.start([PROMPT], randn([1], model.noise_shape))
    for step, seed in enumerate((2, 3), 1):
        save_clips(state, tmp_path / "clips.safetensors", model)
        again = load_clips(tmp_path / "clips.safetensors", model)
        state = model.advance(state, randn([seed], model.noise_shape))
        other = model.advance(again, randn([seed], model.noise_shape))
        assert torch.equal(model.render(state), model.render(other))
        assert other.step.tolist() == [step + 1]
    shared = state[[0, 0, 0]]
    save_clips(shared, tmp_path / "three.safetensors", model)
    back = load_clips(tmp_path / "three.safetensors", model)
    assert back.extra["clip"][0] is back.extra["clip"][2], "rows that share a clip still do"
    assert back.extra["cache"][0] is back.extra["cache"][2], "and read it once"
    early = model.start([PROMPT], randn([1], model.noise_shape))[[0, 0]]
    save_clips(early, tmp_path / "two.safetensors", model)
    noise = randn([4, 5], model.noise_shape)
    ours, theirs = (model.advance(s, noise) for s in (early, load_clips(tmp_path / "two.safetensors", model)))
    assert torch.equal(model.render(ours), model.render(theirs))
    with pytest.raises(ValueError, match="holds clips of another model: .* differ. Load the one that made them"):
        load_clips(tmp_path / "two.safetensors", anyflow(steps=2))
    with pytest.raises(ValueError, match="Load the model that made them"):
        load_clips(tmp_path / "three.safetensors", anyflow(partition=(1, 1)))
    (tmp_path / "other").write_bytes(b"no clips")
    with pytest.raises(ValueError, match="holds no clips in progress"):
        load_clips(tmp_path / "other", model)
