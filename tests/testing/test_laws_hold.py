"""The conformance suites on our own models, verifiers and searches."""

from __future__ import annotations

import pytest
import torch

from gensearch.core.noise import randn
from gensearch.models.toy.gaussian import GaussianFlow, GaussianMixture, GaussianTurbo
from gensearch.search import SEARCHES
from gensearch.testing import ModelLaws, SearchLaws, Setting, VerifierLaws
from gensearch.testing.verifiers import LinearScore
from verifiers.controls.random import RandomScore

MODELS = {
    "turbo": lambda: GaussianTurbo((3, 5, 7), batch_size=3),
    "turbo in two steps": lambda: GaussianTurbo((1, 6, 6), num_steps=2, churn=0.3, guidance=2.0),
    "flow": lambda: GaussianFlow((1, 5, 3), num_steps=5, batch_size=2),
    "stochastic guided flow": lambda: GaussianFlow((3, 4, 4), num_steps=4, churn=0.7, guidance=1.5, batch_size=5),
    "mixture": lambda: GaussianMixture((1, 6, 5), num_steps=3, batch_size=4),
    "stochastic guided mixture": lambda: GaussianMixture((3, 3, 3), num_steps=3, churn=0.4, guidance=3.0, batch_size=1),
}


class TestToyModels(ModelLaws):
    @pytest.fixture(params=MODELS)
    def model(self, request):
        return MODELS[request.param]()

    @pytest.fixture
    def networks(self, model):
        return {"nfe": model.network, "decoded": model.decoder}


class TestRandomScore(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return RandomScore(8)


class TestLinearScore(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return LinearScore(randn([9], (3, 64, 64))[0] / 64)

    @pytest.fixture
    def ladder(self):
        sign = randn([9], (3, 64, 64)).sign()
        return torch.cat([0.5 + level * sign for level in (-0.2, 0.0, 0.1, 0.3)]), ["a photo of a ring"] * 4


class TestSearches(SearchLaws):
    @pytest.fixture(params=["best_of_n", "unguided", "zero_order"])
    def search(self, request):
        return SEARCHES[request.param]


class TestSearchesOnOneStep(TestSearches):
    @pytest.fixture
    def setting(self, search):
        knobs = {"neighbours": 3, "cosine": 0.8, "patience": 2} if search.__name__ == "zero_order" else {}
        return Setting(search, knobs, GaussianTurbo((1, 4, 4), batch_size=4), compute=21)
