"""Which knobs bound a search: those that are marked, and no others, whatever their default."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import pytest

from gensearch.config.make import make_config
from gensearch.core.price import price
from gensearch.engine.run import run, stream
from gensearch.pipeline import SearchPipeline
from gensearch.search import SEARCHES
from gensearch.search.knobs import bounds, checked_knobs, knobs_of
from gensearch.search.tokens.value import Value
from tests.search.closed_forms import PROMPT, case

ENDLESS = 200  # rounds, far more than the bounds below take
BOUNDED = [(name, knob) for name, search in SEARCHES.items() for knob in bounds(search)]
FREE = [(name, knob) for name, search in SEARCHES.items() for knob in knobs_of(search) if knob not in bounds(search)]
SOME = {"radius": 0.5, "until": 1e9, "value": "value.safetensors"}  # of knobs whose default is None


def samples(name: str, **limits: Any) -> int:
    """How many samples a search scored before it ended by itself."""
    search, model, verifier, knobs = case(name)
    rounds = list(islice(stream(search, model, verifier, PROMPT, **knobs, **limits), ENDLESS))
    assert len(rounds) < ENDLESS, f"{name} does not end"
    return sum(len(step.round.ids) for step in rounds)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_has_a_bound(name):
    assert bounds(SEARCHES[name])


@pytest.mark.parametrize(("name", "knob"), BOUNDED)
def test_a_search_without_a_budget_ends_once_a_bound_is_set(name, knob):
    assert 0 < samples(name, **{knob: 2}) < samples(name, **{knob: 5})


@pytest.mark.parametrize("name", SEARCHES)
def test_without_a_bound_the_budget_is_all_that_ends_it(name):
    assert samples(name, compute=12) < samples(name, compute=30)


@pytest.mark.parametrize(("name", "knob"), FREE)
def test_no_other_knob_counts_as_a_bound(name, knob):
    search, model, verifier, knobs = case(name)
    knobs = {**knobs, knob: SOME.get(knob, knobs_of(search)[knob].default)}
    assert checked_knobs(search, knobs)
    with pytest.raises(ValueError, match="would never stop"):
        stream(search, model, verifier, PROMPT, **knobs)


# --- knobs whose default is None, and that bound nothing

UNMARKED = [
    ("milr", {"radius": 0.5}),
    ("milr", {"until": 1e9}),
    ("latent_value", {"value": Value(6, 6)}),
]


def keeps_the_default_budget(name: str, knobs: dict[str, Any], tmp_path: Any) -> None:
    search, model, verifier, _ = case(name)
    first = next(SearchPipeline(model, verifier, search, **knobs).stream(PROMPT))
    assert first.ledger.limit == {"work": 16 * price(model).work}


def keeps_the_compute_of_a_preset(name: str, knobs: dict[str, Any], tmp_path: Any) -> None:
    preset = tmp_path / "preset.yaml"
    preset.write_text(f"search: {name}\ncompute: 8\n")
    plain = {knob: value if isinstance(value, float) else "value.safetensors" for knob, value in knobs.items()}
    assert make_config(str(preset), prompt=PROMPT, knobs=plain).compute == 8
    assert make_config(str(preset), prompt=PROMPT, knobs={bounds(SEARCHES[name])[0]: 4}).compute is None


def is_refused_without_a_budget(name: str, knobs: dict[str, Any], tmp_path: Any) -> None:
    search, model, verifier, _ = case(name)
    with pytest.raises(ValueError, match="would never stop"):
        stream(search, model, verifier, PROMPT, **knobs)
    stream(search, model, verifier, PROMPT, **knobs, compute=2)
    stream(search, model, verifier, PROMPT, **knobs, limit={"decoded": 2})


CHECKS = [keeps_the_default_budget, keeps_the_compute_of_a_preset, is_refused_without_a_budget]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "knobs"), UNMARKED)
def test_a_default_of_none_is_no_bound(check, name, knobs, tmp_path):
    check(name, knobs, tmp_path)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "knobs"), UNMARKED)
def test_a_guess_from_the_default_is_caught(check, name, knobs, tmp_path, monkeypatch):
    def guess(search: Any) -> tuple[str, ...]:
        return tuple(name for name, parameter in knobs_of(search).items() if parameter.default is None)

    users = [module for module in list(sys.modules.values()) if vars(module).get("bounds") is bounds]
    for module in users:
        if module.__name__ != __name__:
            monkeypatch.setattr(module, "bounds", guess)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(name, knobs, tmp_path)


def test_a_pipeline_takes_no_budget_beside_a_bound():
    search, model, verifier, _ = case("best_of_n")
    assert SearchPipeline(model, verifier, search, n=3)(PROMPT).result.ledger.limit == {}
    assert run(search, model, verifier, PROMPT, n=3).stopped == "finished"
