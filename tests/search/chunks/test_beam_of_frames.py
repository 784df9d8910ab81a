"""The beam over chunks: its laws, its correlated noise, how previews are weighed, and its cost."""

from __future__ import annotations

import pytest
import torch

from gensearch.core.noise import remake, step_noise
from gensearch.core.sampling import generate
from gensearch.engine.run import run, stream
from gensearch.models.toy.chunks import ToyChunks
from gensearch.search.chunks.beam_of_frames import beam_of_frames
from gensearch.testing import SearchLaws, Setting
from tests.builders.clips import LastPixels, Shown
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

PROMPT = "a red star moves left"


class TestLaws(SearchLaws):
    @pytest.fixture
    def search(self):
        return beam_of_frames

    @pytest.fixture(params=[{}, {"children": 3, "newest": 1.0, "correlation": 0.5}])
    def setting(self, search, request):
        return Setting(search, request.param, Shown(num_steps=3, batch_size=3), LastPixels(), compute=13, extends=False)


def test_noise_keeps_to_that_of_the_chunk_before():
    s = -0.4
    model = ToyChunks(num_steps=3, size=60, batch_size=8)
    rounds = list(stream(beam_of_frames, model, RandomScore(), PROMPT, beams=2, children=3, correlation=s, seed=3))
    n, branched = 3600, 0
    for recipe in rounds[-1].round.recipes:
        own = [step_noise([recipe], step, model.noise_shape).flatten().double() for step in range(3)]
        for step in (1, 2):
            found = float((own[step] * own[step - 1]).mean())
            correlated = any(move[:2] == ("chunk", step) for move in recipe)
            branched += correlated
            assert abs(found - s * correlated) < 4.5 * (1 + s**2) ** 0.5 / n**0.5
            assert abs(own[step].var() - 1) < 4.5 * (2 / n) ** 0.5
    assert branched > 4


def test_clips_come_back_from_their_recipes():
    model = ToyChunks(num_steps=4)
    last = list(stream(beam_of_frames, model, RandomScore(), PROMPT, beams=3, seed=3))[-1].round
    for recipe, clip in zip(last.recipes, last.media, strict=True):
        again = generate(model, [PROMPT], remake(recipe, model.noise_shape), [recipe])[0]
        assert torch.equal(again, clip)


class Lengths:
    """Scores a clip by its number of frames, and writes down what it saw."""

    name = "lengths"
    differentiable = False

    def __init__(self):
        self.seen = []

    def __call__(self, media, prompts, *, progress=1.0):
        self.seen.append((media.shape[1], progress))
        return Scores(torch.full((len(media),), float(media.shape[1]), dtype=torch.float64))


@pytest.mark.parametrize(("newest", "window"), [(0.4, 10), (0.9, 2), (0.0, 1)])
def test_previews_weigh_the_newest_frames_by_how_far_they_are(newest, window):
    model, verifier = ToyChunks(num_steps=5, chunk_frames=2), Lengths()
    rounds = list(stream(beam_of_frames, model, verifier, PROMPT, beams=1, newest=newest, window=window))
    for depth, progress in enumerate(rounds, 1):
        if depth == 5:
            expected = 10.0
        else:
            a = min(depth / 5, newest)
            expected = a * 2 + (1 - a) * 2 * min(window, depth)
        assert progress.round.scores.total.tolist() == pytest.approx([expected] * 2)
    assert {progress for _, progress in verifier.seen} == {0.2, 0.4, 0.6, 0.8, 1.0}


@pytest.mark.parametrize(("beams", "children"), [(2, 2), (3, 1), (1, 4)])
@pytest.mark.parametrize("reading", [0, 1])
def test_it_costs_what_its_width_says(beams, children, reading):
    model = ToyChunks(num_steps=5, reading=reading, batch_size=1)
    spent = run(beam_of_frames, model, RandomScore(), PROMPT, beams=beams, children=children).ledger.spent
    count = beams * children
    assert spent.nfe == 5 * count + reading * 4 * beams
    assert spent.decoded == 5 * count
    assert spent.scored == count * (2 * 4 + 1)


@pytest.mark.parametrize("compute", [1, 2, 3, 8, 16])
def test_the_width_follows_the_budget(compute):
    outcome = run(beam_of_frames, ToyChunks(num_steps=4), RandomScore(), PROMPT, compute=compute)
    assert compute * 4 - 8 < outcome.ledger.spent.nfe <= compute * 4
