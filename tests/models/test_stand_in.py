"""Stand-ins for dry runs: what a search costs on them is what it costs on the model, and no network runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gensearch.core.ledger import Cost
from gensearch.core.price import step_costs
from gensearch.engine.job import Job
from gensearch.engine.run import start
from gensearch.estimate import rehearse
from gensearch.models.black_box import BlackBox
from gensearch.models.stand_in import StandIn, stand_in
from gensearch.models.tokens.janus import Janus
from gensearch.models.toy.chunks import ToyChunks
from gensearch.models.toy.gaussian import GaussianFlow, GaussianMixture, GaussianTurbo
from gensearch.models.toy.tokens import ToyTokens
from gensearch.search import OF_CHUNKS, OF_TOKENS, SEARCHES
from gensearch.search.tokens.value import Value
from gensearch.testing.witness import counting
from tests.builders.tiny_janus import janus
from verifiers.combine import Panel, Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness

PROMPT = "a photo of a red star"
BY_SCORES = {"backtracking"}  # how long it lasts depends on the scores
MODELS: dict[str, Callable[[], Any]] = {
    "flow": lambda: GaussianFlow((3, 6, 6), num_steps=3, guidance=2.0, batch_size=3),
    "turbo": lambda: GaussianTurbo((3, 6, 6), batch_size=4),
    "stochastic": lambda: GaussianMixture((3, 8, 8), num_steps=4, churn=0.5, batch_size=2),
    "chunks": lambda: ToyChunks(num_steps=4, chunk_frames=2, batch_size=2),
    "chunks that are read": lambda: ToyChunks(num_steps=3, reading=1, batch_size=3),
    "tokens": lambda: ToyTokens(image_length=6, guidance=1.5, num_steps=3, batch_size=3),
}
KNOBS: dict[str, dict[str, Any]] = {
    "latent_value": {"value": Value(6, 6)},
    "dno": {"probes": 2},
    "milr": {"strategy": "image"},
}


def fits(kind: str, search: str) -> bool:
    if "chunks" in kind:
        return search not in OF_TOKENS | {"dno", "reno"}
    return search not in OF_CHUNKS and (search not in OF_TOKENS if kind != "tokens" else search not in ("dno", "reno"))


PAIRS = [(kind, search) for kind in MODELS for search in sorted(SEARCHES) if fits(kind, search)]


@pytest.mark.parametrize("compute", [1, 7.5])
@pytest.mark.parametrize(("kind", "search"), PAIRS)
def test_a_rehearsal_costs_what_the_search_does_and_runs_no_network(kind, search, compute):
    model = MODELS[kind]()
    guide = Redness() if search == "reno" else RandomScore()
    roles: dict[str, Any] = {} if search == "unguided" else {"select": RandomScore(3, name="other")}
    job = Job(model, SEARCHES[search], Panel(guide, **roles), KNOBS.get(search, {}), compute=compute)
    with counting({"nfe": model.network, "decoded": model.decoder}) as seen:
        planned = rehearse(job, PROMPT, 3)
    assert not seen
    *_, last = start(job, PROMPT, 3)
    if search not in BY_SCORES:
        assert planned.spent == last.ledger.spent
    assert planned.limit == last.ledger.limit
    assert planned.spent.work <= planned.limit["work"]


@pytest.mark.parametrize("kind", ["flow", "chunks", "tokens"])
def test_padding_is_rehearsed_too(kind):
    model = MODELS[kind]()
    job = Job(model, SEARCHES["best_of_n"], Panel(RandomScore()), {"n": 7})
    planned = rehearse(job, PROMPT, 3).padding
    *_, last = start(job, PROMPT, 3)
    assert planned == last.ledger.padding


def test_every_verifier_of_a_sum_is_paid_for():
    both = WeightedSum(Term(RandomScore()), Term(Redness(), 0.5))
    job = Job(MODELS["turbo"](), SEARCHES["best_of_n"], Panel(both), {"n": 5})
    assert rehearse(job, PROMPT, 3).spent.scored == 10


def test_a_proposal_is_paid_for_and_not_asked():
    class Learned:
        cost = Cost(proposed=1)

        def __call__(self, model, prompts, seeds):
            pytest.fail("it was asked")

    job = Job(MODELS["turbo"](), SEARCHES["best_of_n"], Panel(RandomScore()), {"n": 5}, propose=Learned())
    assert rehearse(job, PROMPT, 3).spent.proposed == 5


@pytest.mark.parametrize("kind", MODELS)
def test_a_stand_in_has_the_steps_costs_and_verbs_of_its_model(kind):
    model = MODELS[kind]()
    before = vars(model).copy()
    other = stand_in(model)
    for name in ("name", "num_steps", "nfe_per_step", "batch_size", "verbs", "stochastic"):
        assert getattr(other, name) == getattr(model, name)
    assert step_costs(other) == step_costs(model)
    assert vars(model) == before
    assert other is not model


def test_a_model_may_offer_its_own():
    class Offering(GaussianTurbo):
        def stand_in(self):
            return other

    other = object()
    assert stand_in(Offering()) is other


def test_a_model_that_writes_plans_stands_in_for_itself_as_its_words_decide_the_cost():
    model = ToyTokens(image_length=6, text_length=3, num_steps=2)
    assert stand_in(model) is model
    job = Job(model, SEARCHES["best_of_n"], Panel(RandomScore()), compute=5)
    *_, last = start(job, PROMPT, 3)
    assert rehearse(job, PROMPT, 3).spent == last.ledger.spent


def test_an_autoregressive_model_of_another_kind_stands_in_for_itself():
    class Foreign(GaussianTurbo):
        verbs = frozenset({"tokens"})

    model = Foreign()
    assert stand_in(model) is model


@pytest.mark.parametrize("search", sorted(OF_TOKENS - {"latent_value"}))
def test_a_janus_without_a_plan_is_rehearsed_with_its_tokenizer_alone(search):
    pipeline = janus()
    model = Janus(pipeline, plan="none", context=24, steps=2, batch_size=2)
    job = Job(model, SEARCHES[search], Panel(RandomScore()), KNOBS.get(search, {}), compute=3)
    with counting({"nfe": pipeline.model.model.language_model}) as seen:
        planned = rehearse(job, PROMPT, 3)
    assert not seen
    *_, last = start(job, PROMPT, 3)
    assert planned.spent == last.ledger.spent
    assert planned.spent.tokens > 0


def test_a_black_box_has_the_ordinary_stand_in():
    model = BlackBox(lambda prompts, noise: noise.sigmoid(), (3, 4, 4))
    other = stand_in(model)
    assert isinstance(other, StandIn)
    assert other.fingerprint() == model.fingerprint()
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = other.nothing_like_it


def test_gradients_pass_through_the_ordinary_stand_in():
    other = stand_in(MODELS["flow"]())
    noise = torch.randn(2, *other.noise_shape, requires_grad=True, generator=torch.Generator().manual_seed(0))
    other.render(other.advance(other.start([PROMPT] * 2, noise))).sum().backward()
    assert noise.grad is not None
    assert bool((noise.grad != 0).all())
