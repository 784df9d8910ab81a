"""The grammar of verifier names: what functions hold, what is no part of what, and errors that say how to write it."""

from __future__ import annotations

import pytest

from verifiers.calls import read_call, split_outside
from verifiers.names import elects, leaf_names, parse

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
