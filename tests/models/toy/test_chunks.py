"""The toy of chunks: the laws of models, its closed form, prefixes that are shared, and memory that goes."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import correlated, randn, remake, step_noise
from gensearch.core.price import price
from gensearch.core.sampling import generate
from gensearch.engine.metered import MeteredModel
from gensearch.engine.run import run
from gensearch.models.toy.chunks import ToyChunks, good
from gensearch.search import SEARCHES
from gensearch.testing import ChunkLaws
from gensearch.testing.witness import counting
from verifiers.controls.random import RandomScore

PROMPT = "a red star moves left"


class TestLaws(ChunkLaws):
    @pytest.fixture(params=[{}, {"reading": 1, "batch_size": 3, "chunk_frames": 2}, {"num_steps": 1}])
    def model(self, request):
        return ToyChunks(**request.param)

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.network}


def test_a_chunk_is_good_with_its_probability():
    count, p = 4000, 0.7
    model = ToyChunks(num_steps=3, p=p, batch_size=count)
    seeds = range(count)
    recipes = [(("gaussian", seed),) for seed in seeds]
    flags = good(generate(model, [PROMPT] * count, randn(seeds, model.noise_shape), recipes))
    error = (p * (1 - p) / count) ** 0.5  # 0.007
    assert (flags.float().mean(0) - p).abs().max() < 4 * error
    both = (flags[:, 0] & flags[:, 1]).float().mean()
    assert abs(both - p**2) < 4 * (p**2 * (1 - p**2) / count) ** 0.5


def test_a_chunk_shows_what_precedes_it():
    model = ToyChunks(num_steps=2)
    first, other, last = (randn([seed], model.noise_shape) for seed in (1, 2, 3))
    one = model.render(model.advance(model.start([PROMPT], first), last))
    two = model.render(model.advance(model.start([PROMPT], other), last))
    prompted = model.render(model.advance(model.start(["another"], first), last))
    assert not torch.equal(one[:, 1], two[:, 1]), "the last chunk does not depend on the first"
    assert torch.equal(one[:, 1, 2], two[:, 1, 2])
    assert not torch.equal(one[:, 1], prompted[:, 1])


def test_every_chunk_is_shown_once():
    model = ToyChunks(num_steps=4, chunk_frames=2)
    state = model.start([PROMPT] * 2, randn([1, 2], model.noise_shape))
    with counting({"decoded": model.decoder}) as shown:
        for step in (1, 2, 3):
            state = model.advance(state, randn([step, 10 + step], model.noise_shape))
            if step != 2:
                model.render(state[[0, 1, 1]])
    assert shown["decoded"] == 2 * 4


def test_what_nothing_goes_on_from_is_forgotten():
    model = ToyChunks(num_steps=3, reading=1)
    parent = model.start([PROMPT] * 3, randn([1, 2, 3], model.noise_shape))
    pruned = [weakref.ref(parent.extra["clip"][row]) for row in (1, 2)]
    memory = weakref.ref(parent.extra["cache"][0])
    child = model.advance(parent[[0]], randn([4], model.noise_shape))
    held = memory()
    assert held is not None
    assert held.memory is not None
    del held, parent
    gc.collect()
    assert [ref() for ref in (*pruned, memory)] == [None] * 3
    assert model.render(child).shape[1] == 2, "its frames do not need what the network remembered"


def test_reading_is_paid_once_for_all_that_go_on():
    model = ToyChunks(num_steps=2, reading=1, batch_size=1)
    ledger = Ledger()
    metered = MeteredModel(model, ledger)
    parent = metered.start([PROMPT] * 2, randn([1, 2], model.noise_shape))
    five = parent[[0, 0, 0, 1, 1]]
    assert model.due(five) == Cost(nfe=5 + 2)
    with counting({"nfe": model.network}) as seen:
        metered.advance(five, randn(range(5), model.noise_shape))
        assert seen["nfe"] == 7
        assert model.due(parent) == Cost(nfe=2), "it was read before"
        metered.advance(parent, randn(range(2), model.noise_shape))
    assert ledger.spent.nfe == 2 + 7 + 2 == 2 + seen["nfe"]
    assert price(model).nfe == 2 * 1 + 1


def test_a_limit_is_never_passed():
    model = ToyChunks(num_steps=2, reading=1, batch_size=1)
    metered = MeteredModel(model, Ledger({"nfe": 3}))
    parent = metered.start([PROMPT], randn([1], model.noise_shape))
    with pytest.raises(RuntimeError, match="advancing 2 samples needs 3 nfe; 2 are left"):
        metered.advance(parent[[0, 0]], randn([1, 2], model.noise_shape))
    metered.advance(parent, randn([1], model.noise_shape))


# --- recipes of clips


SHAPE = (1, 3, 3)


def test_a_recipe_sets_the_noise_of_single_chunks():
    plain, branched = (("gaussian", 5),), (("gaussian", 5), ("chunk", 2, 77))
    for step in (1, 3):
        assert torch.equal(step_noise([plain], step, SHAPE), step_noise([branched], step, SHAPE))
    assert torch.equal(step_noise([branched], 2, SHAPE), randn([77], SHAPE))
    assert not torch.equal(step_noise([plain], 2, SHAPE), randn([77], SHAPE))
    assert torch.equal(remake(branched, SHAPE), randn([5], SHAPE))


def test_a_recipe_may_follow_the_chunk_before():
    recipe = (("gaussian", 5), ("chunk", 1, 7, -0.1), ("chunk", 2, 8, 0.5))
    first = correlated(randn([5], SHAPE)[0], randn([7], SHAPE)[0], -0.1)
    second = correlated(first, randn([8], SHAPE)[0], 0.5)
    assert torch.equal(step_noise([recipe], 1, SHAPE)[0], first)
    assert torch.equal(step_noise([recipe], 2, SHAPE)[0], second)


@pytest.mark.parametrize("correlation", [-0.1, 0.5, 0.9])
def test_correlated_noise_is_noise(correlation):
    before, fresh = randn([1], (40_000,))[0], randn([2], (40_000,))[0]
    made = correlated(before, fresh, correlation)
    error = 40_000**-0.5
    assert abs(made.mean()) < 4 * error
    assert abs(made.var() - 1) < 4 * 2**0.5 * error
    assert abs((made * before).mean() - correlation) < 4 * (1 + correlation**2) ** 0.5 * error
    with pytest.raises(ValueError, match="lies between -1 and 1"):
        correlated(before, fresh, 1.5)


@pytest.mark.parametrize("name", ["best_of_n", "zero_order", "unguided"])
def test_searches_of_pictures_work_on_clips_unchanged(name):
    model = ToyChunks(num_steps=3, chunk_frames=2)
    outcome = run(SEARCHES[name], model, RandomScore(), PROMPT, compute=9)
    assert outcome.ledger.spent.nfe == 27
    best = outcome.best
    again = generate(model, [PROMPT], remake(best.recipe, model.noise_shape), [best.recipe])
    assert torch.equal(again[0], best.media)
    assert best.media.shape == (6, 3, 3, 3)
