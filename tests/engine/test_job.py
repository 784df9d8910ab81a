"""The resolved job: what costs nothing is checked before anything is loaded, and once."""

from __future__ import annotations

import dataclasses

import pytest

from gensearch import registry
from gensearch.core.limits import check_prompt
from gensearch.core.noise import gaussian
from gensearch.core.price import price
from gensearch.engine.job import DEFAULT_COMPUTE, Job, budget
from gensearch.engine.run import run, start
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.pipeline import SearchPipeline
from gensearch.resolve import for_prompt, resolve
from gensearch.search.knobs import checked_knobs
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.zero_order import zero_order
from gensearch.search.tokens.milr import milr
from gensearch.testing.verifiers import LinearScore
from tests.builders.dice import Number
from verifiers.combine import Panel
from verifiers.controls.random import RandomScore

PROMPT = "a red star"
MODEL = GaussianTurbo((3, 4, 4), batch_size=2)


def job(**changes) -> Job:
    return Job(MODEL, best_of_n, Panel(RandomScore())).changed(**changes)


def test_the_pipeline_and_the_public_function_run_the_same_job():
    pipe = SearchPipeline(MODEL, RandomScore(), "zero_order", compute=9, select=RandomScore(4, name="s"), neighbours=3)
    other = run(
        zero_order, MODEL, RandomScore(), PROMPT, compute=9, seed=2, select=RandomScore(4, name="s"), neighbours="3"
    )
    found = pipe(PROMPT, 2).result
    assert (found.best.recipe, found.lineage, found.ledger.spent) == (
        other.best.recipe,
        other.lineage,
        other.ledger.spent,
    )
    assert pipe.job.knobs == {"neighbours": 3}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"search": "best_of_m"}, "did you mean 'best_of_n'"),
        ({"search": 3}, "search 3 is none"),
        ({"knobs": {"m": 3}}, "unknown knob 'm'"),
        ({"knobs": {"n": 0}}, "knob n of best_of_n is 0"),
        ({"verifier": "rondom"}, "did you mean 'random'"),
        ({"verifier": 3}, "verifier 3 is none"),
        ({"select": "rondom"}, "did you mean 'random'"),
        ({"holdout": ["rondom"]}, "did you mean 'random'"),
        ({"holdout": [None]}, "verifier None is none"),
    ],
)
def test_cheap_mistakes_are_found_before_the_model_is_loaded(wrong, message, monkeypatch):
    monkeypatch.setattr(registry, "load_model", lambda *_, **__: pytest.fail("it loaded the model"))
    with pytest.raises(ValueError, match=message):
        resolve("toy/flow", **{"verifier": "random", "search": "best_of_n", "knobs": {}, **wrong})


def test_knobs_are_checked_once_by_each_entrance(monkeypatch):
    checked = []

    def noted(search, knobs):
        checked.extend(knobs)
        return checked_knobs(search, knobs)

    for place in ("gensearch.engine.job", "gensearch.resolve"):
        monkeypatch.setattr(f"{place}.checked_knobs", noted)
    pipe = SearchPipeline(MODEL, "random", n=3)
    assert checked == ["n"]
    pipe(PROMPT)
    assert checked == ["n"]
    run(best_of_n, MODEL, RandomScore(), PROMPT, n=4)
    assert checked == ["n", "n"]


def test_changes_are_checked_and_leave_the_job_as_it_is():
    first = job(n=3)
    other = first.changed(compute=5, limit={"decoded": 4}, n="7")
    assert (other.compute, other.knobs, other.limit) == (5, {"n": 7}, {"decoded": 4})
    assert (first.compute, first.knobs, first.limit) == (None, {"n": 3}, {})
    with pytest.raises(ValueError, match="unknown knob 'm'"):
        first.changed(m=3)
    with pytest.raises(ValueError, match="knob propose of best_of_n is 3"):
        first.changed(propose=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.compute = 4  # type: ignore[misc]


def test_a_proposal_is_no_knob_of_a_job():
    def mine(model, prompts, seeds):
        return 2 * gaussian(model, prompts, seeds)

    changed = job(propose=mine)
    assert (changed.propose, changed.knobs) == (mine, {})
    *_, last = start(changed.changed(n=2), PROMPT)
    assert last.best is not None
    assert last.best.recipe[-1][0] == "exact"


def test_the_default_budget_is_filled_in_where_nothing_bounds_the_search():
    assert job().with_budget().compute == DEFAULT_COMPUTE
    assert job(n=3).with_budget().compute is None
    assert job(n=None).with_budget().compute == DEFAULT_COMPUTE
    assert job(n=3, compute=2).with_budget().compute == 2
    assert budget(milr, None, {"iterations": 0}) is None, "0 updates end a search"
    assert for_prompt(job(), PROMPT).compute == DEFAULT_COMPUTE


def test_limits_hold_the_budget_as_work():
    model = GaussianFlow((3, 4, 4), num_steps=3, guidance=2.0)
    made = Job(model, best_of_n, Panel(RandomScore()), compute=2.5, limit={"nfe": 7})
    assert made.limits == {"work": int(2.5 * price(model).work), "nfe": 7}
    assert dataclasses.replace(made, limit={"work": 3}).limits == {"work": 3}


def test_a_verifier_selects_only_if_it_is_another_than_the_guide():
    guide = RandomScore()
    assert Job(MODEL, best_of_n, Panel(guide)).select is None
    assert Job(MODEL, best_of_n, Panel(guide, guide)).select is None
    other = Number("first", 0)
    assert Job(MODEL, best_of_n, Panel(guide, other)).select is other


def test_holdouts_of_a_job_are_not_asked_by_the_search():
    class Unasked(RandomScore):
        def __call__(self, *_, **__):
            pytest.fail("it was asked")

    guide = LinearScore(MODEL.start([PROMPT], gaussian(MODEL, [PROMPT], [0])).x[0])
    panel = Panel(guide, holdout={"u": Unasked(name="u")})
    assert len(list(start(Job(MODEL, best_of_n, panel, {"n": 5}), PROMPT))) == 2


@pytest.mark.parametrize("called", ["the prompt", "it"])
def test_one_rule_for_prompts_is_told_in_two_places(called):
    for wrong, message in ((" ", "is empty"), ("x" * 2001, "has 2001 characters"), ("a\tb", "control character")):
        with pytest.raises(ValueError, match=message) as said:
            check_prompt(wrong, called)
        assert str(said.value).startswith((called, "the prompt holds"))
