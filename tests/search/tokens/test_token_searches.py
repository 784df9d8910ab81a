"""The laws, and closed forms, for searches over tokens."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.models.toy.tokens import ToyTokens, levels
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.tokens.calibrated import calibrated, fit
from gensearch.search.tokens.latent_noise import latent_noise
from gensearch.search.tokens.milr import milr
from gensearch.search.tokens.prefix import prefix
from gensearch.search.tokens.suffix_mcmc import accepts, suffix_mcmc
from gensearch.testing import SearchLaws, Setting
from gensearch.testing.verifiers import LinearScore
from tests.builders.suites import BlindInCI
from verifiers.types import Scores

PROMPT = "a photo of a red star"


def setting(search, **changes):
    model = ToyTokens(image_length=6, text_length=2, guidance=1.5, num_steps=3, batch_size=3)
    direction = torch.linspace(-1, 2, 6)[None, None]
    return Setting(search, **{"model": model, "verifier": LinearScore(direction), **changes})


class TestMilr(SearchLaws):
    @pytest.fixture
    def setting(self):
        return setting(milr, knobs={"chains": 3, "text_share": 0.7, "image_share": 0.4, "lr": 0.1})


class TestMilrWithChains(BlindInCI):
    @pytest.fixture
    def setting(self):
        knobs = {"chains": 2, "samples": 2, "baseline": "loo", "image_share": 0.5, "diversity": 0.1, "strategy": "alt"}
        return setting(milr, knobs=knobs, extends=False)


class TestSuffixMcmc(SearchLaws):
    @pytest.fixture
    def setting(self):
        return setting(suffix_mcmc, knobs={"chains": 3, "beta": 3.0})


class TestLatentNoise(BlindInCI):
    @pytest.fixture
    def setting(self):
        return setting(latent_noise, knobs={"image_share": 0.5, "sigma": 0.5}, prompt="two red circles")


class TestPrefix(BlindInCI):
    @pytest.fixture
    def setting(self):
        return setting(prefix, extends=False)


class TestCalibrated(BlindInCI):
    @pytest.fixture
    def setting(self):
        return setting(calibrated, extends=False)


class TestBestOfNOnTokens(BlindInCI):
    @pytest.fixture
    def setting(self):
        return setting(best_of_n)


@pytest.mark.parametrize("search", [milr, suffix_mcmc, latent_noise, prefix, calibrated])
def test_models_without_tokens_are_refused(search):
    with pytest.raises(ValueError, match=r"toy/flow has none; take a Janus, or best_of_n"):
        run(search, GaussianFlow((1, 4, 4)), LinearScore(torch.ones(1, 4, 4)), PROMPT, compute=4)


class Table:
    """A reward for every sequence of a toy's image tokens."""

    name = "table"
    differentiable = False

    def __init__(self, model, seed=0):
        shape = (model.vocabulary,) * model.image_length
        self.values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.vocabulary = model.vocabulary

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.stack([self.values[tuple(row)] for row in levels(media, self.vocabulary).tolist()]), {})


@pytest.mark.parametrize("beta", [0.3, pytest.param(1.0, marks=pytest.mark.slow)])
def test_the_chain_has_the_law_of_the_model_tilted_by_the_reward(beta):
    model = ToyTokens(image_length=2, vocabulary=3, batch_size=128)
    table = Table(model, seed=2)
    law = {tokens: chance * math.exp(float(table.values[tokens]) / beta) for tokens, chance in model.sequences(PROMPT)}
    whole = sum(law.values())
    rounds = [p.round for p in stream(suffix_mcmc, model, table, PROMPT, iterations=220, chains=128, beta=beta)]
    shown = {i: tuple(row) for r in rounds for i, row in zip(r.ids, levels(r.media, 3).tolist(), strict=True)}
    # Parents are where the chains stood. Every tenth state counts, after the first 20: about independent.
    counts = Counter(shown[parent] for r in rounds[20::10] for parent in r.parents if parent is not None)
    n = counts.total()
    statistic = sum((counts[t] - n * chance / whole) ** 2 / (n * chance / whole) for t, chance in law.items())
    assert abs(statistic - (len(law) - 1)) <= 5 * (2 * (len(law) - 1)) ** 0.5


@pytest.mark.parametrize(("new", "old", "verdict"), [(1.0, 0.5, True), (-math.inf, 0.1, False), (0.1, -math.inf, True)])
def test_better_pictures_are_entered_and_unscored_ones_left(new, old, verdict):
    assert accepts(new, old, 0.1, seed=3) is verdict


def test_worse_pictures_are_entered_as_often_as_the_rule_says():
    entered = sum(accepts(0.2, 0.3, 0.2, seed) for seed in range(4000)) / 4000
    due = math.exp(-0.5)
    assert abs(entered - due) <= 4 * (due * (1 - due) / 4000) ** 0.5


def test_a_fit_makes_the_elite_likelier_and_knows_its_own_law():
    model = ToyTokens(image_length=4, vocabulary=6)
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(300, 4, 1, model.width, generator=generator)
    shift = torch.tensor([1.0, -1.0, 0.0, 0.5, -0.5, 0.0])
    law = model.tilted(0.6, shift).logits("image", states).softmax(-1)
    tokens = torch.multinomial(law.flatten(0, 1), 1, generator=generator).view(300, 4)
    temperature, found = fit(model, states, tokens, decay=0.0)
    assert temperature == pytest.approx(0.6, abs=0.08)
    assert torch.allclose(found - found.mean(), shift - shift.mean(), atol=0.25)
    before = model.logits("image", states).log_softmax(-1).gather(-1, tokens[..., None]).mean()
    after = (
        model.tilted(temperature, found).logits("image", states).log_softmax(-1).gather(-1, tokens[..., None]).mean()
    )
    assert after > before + 0.05


def test_pruned_pictures_give_way_to_branches_of_the_best():
    model = ToyTokens(image_length=8, num_steps=4, vocabulary=6)
    verifier = LinearScore(torch.ones(1, 1, 8))
    rounds = [p.round for p in stream(prefix, model, verifier, PROMPT, width=6, keep=0.34, prunings=2)]
    assert [r.done for r in rounds] == [False, False, True]
    for before, after, drawn in zip(rounds, rounds[1:], (2, 4), strict=False):
        best = before.scores.total.argsort(descending=True, stable=True)[:2].tolist()
        assert {before.ids[row] for row in best} == set(after.parents)
        for row, parent in enumerate(after.parents):
            old, new = before.media[before.ids.index(parent)], after.media[row]
            assert torch.equal(old[..., :drawn], new[..., :drawn]), "a branch keeps what is drawn"
    assert len({tuple(levels(rounds[2].media, 6)[row].tolist()) for row in range(6)}) > 2, "branches differ"


def test_prefix_needs_blocks():
    with pytest.raises(ValueError, match="draws a picture in one block .* load it with steps=4"):
        run(prefix, ToyTokens(), LinearScore(torch.ones(1, 1, 3)), PROMPT, width=2)
