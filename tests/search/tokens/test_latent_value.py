"""Pruning by a value model: the laws, exact counts, and that it does what it says."""

from __future__ import annotations

import pytest
import torch

from gensearch.core.noise import Rng, randn
from gensearch.core.price import price, step_costs
from gensearch.engine.run import run, stream
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search.tokens.latent_value import latent_value
from gensearch.search.tokens.value import Value
from gensearch.testing import Setting
from gensearch.testing.verifiers import LinearScore
from tests.search.tokens.test_token_searches import BlindInCI

PROMPT = "two red circles"


def model(**changes):
    sizes = {"image_length": 8, "text_length": 3, "guidance": 1.5, "num_steps": 4, "batch_size": 3}
    return ToyTokens(**{**sizes, **changes})


def score():
    return LinearScore(torch.linspace(-1, 2, 8)[None, None])


class Longing(Value):
    """Wants the first coordinate of the first state to be large."""

    def __init__(self):
        super().__init__(6, 8)
        self.seen = []

    def forward(self, states):
        self.seen.append(states.shape)
        return states[:, 0, 0, 0]


class TestLatentValue(BlindInCI):
    @pytest.fixture
    def setting(self):
        return Setting(
            latent_value, model=model(), verifier=score(), knobs={"value": Longing(), "branches": 3}, prompt=PROMPT
        )


@pytest.mark.parametrize(("branches", "blocks", "n"), [(4, 1, 3), (2, 3, 6), (5, 2, 4)])
def test_losers_are_begun_but_neither_finished_nor_rendered_nor_scored(branches, blocks, n):
    """Without a plan every count is exact: a context of three words and 8 tokens, in two rows of guidance."""
    own, expects = model(text_length=0), Longing()
    found = run(latent_value, own, score(), PROMPT, n=n, branches=branches, blocks=blocks, value=expects)
    assert found.ledger.spent.decoded == found.ledger.spent.scored == n
    assert sum(shape[0] for shape in expects.seen) == branches * (n - 1)
    assert {shape[1] for shape in expects.seen} == {2 * blocks}
    begun = 1 + branches * (n - 1)
    contexts = found.ledger.spent.prefills  # shared within a round
    assert contexts == 2 * (1 + {2: 1, 3: 1, 5: 2}[n - 1])  # rounds of four; five are two and three
    assert found.ledger.spent.tokens == 3 * contexts + 2 * (begun * 2 * blocks + n * (7 - 2 * blocks))


def test_the_one_of_each_brood_that_the_value_model_expects_most_of_goes_on():
    own = model(batch_size=4)
    rounds = [p.round for p in stream(latent_value, own, score(), PROMPT, n=4, branches=3, value=Longing(), seed=7)]
    seeds = Rng(7).seeds(1 + 9)[1:]
    worth = Longing()(own.trace(own.start([PROMPT] * 9, randn(seeds, own.noise_shape))).image_states[:, :2])
    best = [3 * place + int(own.argmax()) for place, own in enumerate(worth.view(3, 3))]
    assert [recipe[0][1] for recipe in rounds[1].recipes] == [seeds[i] for i in best]


def test_a_budget_pays_for_what_is_begun_as_well():
    own = model()
    unit, begun = price(own, score()), step_costs(own)[0]
    spent = run(latent_value, own, score(), PROMPT, value=Longing(), branches=4, compute=9).ledger.spent
    assert spent.work <= 9 * unit.work
    most = 1 + 8 * unit.work // (unit.work + 3 * begun.work)
    assert most <= spent.decoded < 9, "plans may be shorter than their price"


def test_what_cannot_be_pruned_is_refused(tmp_path):
    with pytest.raises(ValueError, match="toy/flow has none; take a Janus"):
        run(latent_value, GaussianFlow((1, 4, 4)), LinearScore(torch.ones(1, 4, 4)), PROMPT, compute=4)
    with pytest.raises(ValueError, match="in 4 blocks and can prune before the last only"):
        run(latent_value, model(), score(), PROMPT, compute=4, blocks=4, value=Longing())
    with pytest.raises(ValueError, match=r"toy/tokens has no value model at value.safetensors; fit one with"):
        run(latent_value, model(), score(), PROMPT, compute=4)
    with pytest.raises(ValueError, match="reads states of width 5, not 6"):
        run(latent_value, model(), score(), PROMPT, compute=4, value=Value(5, 8))
