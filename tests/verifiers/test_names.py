"""The grammar of verifier names: what functions hold, what is no part of what, and errors that say how to write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.calls import quoted, read_call, split_outside, unquoted
from verifiers.catalogue import SOURCES, verifier
from verifiers.names import KINDS, ON_FRAMES, elects, leaf_names, parse, source_of

KNOWN = {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("a", [("a", 1)]),
        ("min(a, 0.5*b)", [("a", 1), ("b", 0.5)]),
        ("2*min(a,b+c)+0.5*z(a,shift=1,scale=2)", [("a", 1), ("b", 1), ("c", 1), ("a", 1)]),
        ("veto(a,b>=0.5,c<=-1e3)", [("a", 1), ("b", 1), ("c", 1)]),
        ("cascade(a,b,keep=4)", [("a", 1), ("b", 1)]),
        ("cascade(veto(a,b>=0.5),min(b,c))", [("a", 1), ("b", 1), ("b", 1), ("c", 1)]),
        ("knockout(clip:x@y,keep=3,samples=5,tie=0.1)", [("clip:x@y", 1)]),
        ("swiss(a, b, rounds=2)", [("a", 1), ("b", 1)]),
        ("agree(a,b,doubt=0.5)", [("a", 1), ("b", 1)]),
    ],
)
def test_functions_are_read_down_to_single_names(name, leaves):
    assert parse(name, KNOWN) == leaves
    assert leaf_names(name) == {leaf for leaf, _ in leaves}


def test_a_function_is_read_with_its_settings_and_bounds():
    assert read_call("cascade(a, b ,keep=4)") == ("cascade", ("a", "b"), {"keep": 4.0}, ())
    assert read_call("veto(a, b >= 0.5,c<=2)") == ("veto", ("a", "b", "c"), {}, ((">=", 0.5), ("<=", 2.0)))
    assert read_call("a") is read_call("clip:a(b)") is read_call("unknown(a,b)") is None


def test_what_stands_in_brackets_is_not_split():
    assert split_outside("min(a,b),c,x[1,2],)d,e", ",") == ["min(a,b)", "c", "x[1,2]", ")d", "e"]


@pytest.mark.parametrize("name", ["rank(a,b)", " zsum(a)", "cascade(a,b)", "knockout(a)", "swiss(a)", "roundrobin(a)"])
def test_names_that_elect_are_recognised(name):
    assert elects(name)
    assert not elects("min(a,b)")
    assert not elects("a+rank")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rank(a,b)+c", "elects among finished candidates, so it cannot be part of"),
        ("2*rank(a,b)", "cannot be part of"),
        ("min(a,cascade(b,c))", "cannot be part of 'cascade"),
        ("min(a)", r"'min\(a\)' has 1 verifiers; min takes 2 or more, split by commas"),
        ("cascade(a,b,c)", "has 3 verifiers; cascade takes 1 or 2 and the settings keep"),
        ("z(a,b)", "z takes 1 and the settings shift, scale"),
        ("cascade(a,b,keep=many)", "'many' is no setting; write one as in 'keep=4'"),
        ("cascade(a,b,keep=inf)", "the setting of 'keep' is inf; give a finite one"),
        ("cascade(a,b,kep=3)", "has 3 verifiers"),
        ("veto(a,b)", r"lacks a threshold; write a veto as 'veto\(shapes/clip"),
        ("veto(a,b>=high)", "'high' is no threshold; write one as in 'b>=0.5'"),
        ("rank()", "names no verifier"),
        ("min(a,x)", "no verifier is called 'x'"),
        ("mim(a,b)", r"no verifier is called 'mim\(a,b\)'"),
        ("x*min(a,b)", "'x' is no weight"),
        ("inf*min(a,b)", "give a finite one"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_to_write_it(name, words):
    with pytest.raises(ValueError, match=words):
        parse(name, KNOWN)


MARKS = st.text(st.sampled_from('ab+*,()[]"<>=@:./ \\\n\u00e9'), min_size=1, max_size=12)
PATHS = [kind for kind in KINDS if kind not in ON_FRAMES]


@given(st.sampled_from(PATHS), MARKS, MARKS)
def test_any_source_comes_back_from_its_name_alone_and_inside_of_others(kind, one, other):
    first, second = f"{kind}:{quoted(one)}", f"frames:{kind}:{quoted(other)}"
    assert source_of(first) == (kind, one)
    assert source_of(second) == ("frames", f"{kind}:{quoted(other)}")
    assert parse(first, KNOWN) == [(first, 1)]
    assert parse(f"0.5*{first}+a+2*{second}", KNOWN) == [(first, 0.5), ("a", 1), (second, 2)]
    assert parse(f"cascade({first},min({second},a),keep=4)", KNOWN) == [(first, 1), (second, 1), ("a", 1)]
    assert read_call(f"veto({first},{second}>=0.5)") == ("veto", (first, second), {}, ((">=", 0.5),))
    assert leaf_names(f"min({first},a)+{second}") == {first, "a", second.removeprefix("frames:")}


@given(MARKS)
def test_a_source_has_quotes_only_where_it_needs_them(source):
    assert unquoted(quoted(source)) == source
    assert quoted("weights/my critic.yaml") == "weights/my critic.yaml"
    assert quoted("org/name@tag:v1") == "org/name@tag:v1"


@pytest.mark.parametrize("source", ['"a.yaml', '"a"b.yaml', 'a"b.yaml', '"a""'])
def test_quotes_that_do_not_close_are_refused(source):
    with pytest.raises(ValueError, match="quotes in .* do not close"):
        parse(f"critic:{source}", KNOWN)


def test_a_torn_path_says_how_to_write_it():
    with pytest.raises(ValueError, match=r'written in quotes, as in critic:"a\+b.yaml"'):
        parse("critic:my+critic.yaml", KNOWN)


@pytest.mark.parametrize("file", ["a+b.yaml", "a*b,(c.yaml", 'of "me" [1].yaml', " c .yaml"])
def test_critics_load_from_any_path(file, tmp_path):
    text = "url: http://127.0.0.1:9/v1\nmodel: tiny\ncache: false\nrubric: [{name: x, question: How good is it}]\n"
    (tmp_path / file).write_text(text)
    name = f"critic:{quoted(str(tmp_path / file))}"
    assert verifier(name).name == name
    assert verifier(f"{name}+0.5*random").name == f"{name}+0.5*random"


def test_an_existing_path_with_a_plus_needs_no_quotes(tmp_path):
    (tmp_path / "a+b.yaml").touch()
    assert parse(f"critic:{tmp_path}/a+b.yaml+a", KNOWN) == [(f"critic:{tmp_path}/a+b.yaml", 1), ("a", 1)]


def test_every_kind_of_name_has_a_builder():
    assert set(KINDS) == set(SOURCES)
