"""What searches declare: every knob is documented, and documentation, annotation and signature agree."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from gensearch.engine.run import run
from gensearch.search import NEEDS, SEARCHES, Needs, find
from gensearch.search.knobs import (
    Bound,
    Count,
    Knob,
    accepted,
    bounds,
    checked_knobs,
    describe,
    documented,
    knobs_of,
    shown,
    source,
    summary,
)
from tests.builders.closed_forms import PROMPT, case

# --- the registered searches


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_says_what_it_does_and_where_it_comes_from(name):
    search = SEARCHES[name]
    assert re.fullmatch(r"[A-Z][^\n]{20,118}\.", summary(search)), (
        f"begin the docstring of {name} with one sentence of 22 to 120 characters that ends in a full stop"
    )
    assert re.search(r"arXiv:\d|doi(:|\.org/)|control", source(search), flags=re.IGNORECASE), (
        f"add a paragraph 'Source: AUTHORS YEAR, arXiv:NUMBER.' to the docstring of {name}; a DOI as 'doi:10...' will "
        "do, and 'Source: a control, without a paper.' for what has none"
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_every_knob_is_documented_once_and_nothing_else_is(name):
    wanted = [*knobs_of(SEARCHES[name]), "propose"]
    assert list(documented(SEARCHES[name])) == wanted, (
        f"give the docstring of {name} an 'Args:' block with one line for each of {', '.join(wanted)}, in this order"
    )
    empty = [knob for knob, text in documented(SEARCHES[name]).items() if not text]
    assert not empty, f"say in 'Args:' of {name} what these do: {', '.join(empty)}"


@pytest.mark.parametrize(
    ("name", "knob"), [(name, knob.name) for name, search in SEARCHES.items() for knob in describe(search)]
)
def test_the_documentation_of_a_knob_agrees_with_its_declaration(name, knob):
    (found,) = [one for one in describe(SEARCHES[name]) if one.name == knob]
    assert found.text, f"say in 'Args:' of {name} what {knob} does"
    assert found.range, f"annotate {knob} of {name} with a range, such as PositiveInt or Annotated[float, Field(gt=0)]"
    said = documented(SEARCHES[name])[knob]
    declared = f"{found.text}; {found.range} (default {shown(found.default)}"
    assert said == f"{declared})" or said.startswith(f"{declared}: "), (
        f"write the line of {knob} in 'Args:' of {name} as 'MEANING; {found.range} (default {shown(found.default)})', "
        "where ': MORE' may follow the default"
    )
    assert found.bounds == (knob in bounds(SEARCHES[name]))


@pytest.mark.parametrize("name", SEARCHES)
def test_docstrings_have_their_sections_in_order(name):
    text = inspect.getdoc(SEARCHES[name]) or ""
    places = [text.find(section) for section in ("\n\nSource: ", "\n\nArgs:\n", "\n\nRaises:\n")]
    found = [place for place in places if place >= 0]
    order = "write the docstring as: a sentence, 'Source: ...', 'Args:', 'Raises:', each after an empty line"
    assert found == sorted(found), f"{name}: {order}"
    assert min(places[:2]) > 0, f"{name}: {order}"
    assert places[2] > 0 or "ValueError" not in text, f"list ValueError of {name} under 'Raises:'"


def test_a_defaults_are_in_their_ranges():
    for search in SEARCHES.values():
        defaults = {name: parameter.default for name, parameter in knobs_of(search).items()}
        assert checked_knobs(search, defaults) == defaults, (
            f"a default of {search.__name__} does not fit its annotation"
        )


# --- what they need


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_asks_for_the_verbs_that_it_needs_and_for_no_others(name):
    search, model, verifier, knobs = case(name)
    needed = NEEDS.get(name, Needs()).verbs
    knobs |= {bounds(search)[0]: 2}
    bare = copy.copy(model)
    bare.verbs = needed
    assert run(search, bare, verifier, PROMPT, **knobs).best, f"add what {name} needs to NEEDS in gensearch/search"
    for verb in needed:
        bare.verbs = model.verbs - {verb}
        with pytest.raises(ValueError, match=f"{name} .*{model.name}"):
            run(search, bare, verifier, PROMPT, **knobs)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_asks_for_gradients_of_the_verifier_if_it_says_so(name):
    search, model, verifier, knobs = case(name)
    knobs |= {bounds(search)[0]: 2}
    flat = copy.copy(verifier)
    flat.differentiable = False
    if NEEDS.get(name, Needs()).differentiable:
        with pytest.raises(ValueError, match="needs gradients"):
            run(search, model, flat, PROMPT, **knobs)
    else:
        assert run(search, model, flat, PROMPT, **knobs).best


def test_needs_are_those_of_searches():
    unknown = set(NEEDS) - set(SEARCHES)
    assert not unknown, f"add {unknown} to SEARCHES in gensearch/search/__init__.py, or take it out of NEEDS"
    with pytest.raises(ValueError, match="did you mean 'milr'"):
        find("mlir")


# --- searches of other people


class Network(nn.Module):
    pass


def terse(model, verifier, prompt, *, rng, ledger, size: PositiveInt, speed=1.0, propose=None) -> Iterator[Any]:
    yield


def wordy(
    model: Any,
    verifier: Any,
    prompt: str,
    *,
    rng: Any,
    ledger: Any,
    depth: Annotated[int, Bound()] | None = None,
    width: Count = None,
    mode: Literal["a", "b"] = "a",
    network: Network | None = None,
) -> Iterator[Any]:
    """Do something.

    And more.

    Args:
        model: the model
        width (int): how wide (or not);
            in two lines (default 4).
        mode: how

            in two paragraphs; a or b (default a (the first))
        *extra: something else

    Raises:
        ValueError: never
    """
    yield


def test_a_search_without_documentation_is_described_by_its_signature():
    assert describe(terse) == [
        Knob("size", "", inspect.Parameter.empty, "integer above 0", False),
        Knob("speed", "", 1.0, "", False),
    ]
    assert [shown(knob.default) for knob in describe(terse)] == ["required", "1.0"]
    assert (summary(terse), source(terse), documented(terse)) == ("", "", {})


def test_a_search_with_other_documentation_is_read_as_far_as_it_goes():
    assert list(documented(wordy)) == ["model", "width", "mode", "extra"]
    assert describe(wordy) == [
        Knob("depth", "", None, "integer", True),
        Knob("width", "how wide (or not); in two lines", None, "integer above 0", True),
        Knob("mode", "how in two paragraphs", "a", "a or b", False),
        Knob("network", "", None, "Network", False),
    ]
    assert summary(wordy) == "Do something."


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "integer"),
        (bool, "True or False"),
        (str, "text"),
        (Any, ""),
        (float | None, "number"),
        (PositiveFloat, "number above 0"),
        (Annotated[float, Field(gt=-1, le=1)], "number above -1 and at most 1"),
        (Annotated[int | None, Field(ge=2), Bound()], "integer at least 2"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Literal[1], "1"),
        (list[float], "list of numbers"),
        (Annotated[list[int], Field(min_length=2, max_length=2)], "list of 2 integers"),
        (int | list[int], "integer or list of integers"),
        (str | Sequence[Sequence[Any]], "text or list of lists"),
        (list[int | str], "list of integers or texts"),
        (Callable[[str], str], "function"),
        (Callable, "function"),
        (dict[str, int], "mapping"),
        (Network, "Network"),
    ],
)
def test_ranges_in_words(hint, words):
    assert accepted(hint) == words


def test_none_is_said_where_it_is_not_the_default():
    assert accepted(PositiveInt | None, 3) == "integer above 0 or None"
