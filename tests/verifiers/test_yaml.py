from __future__ import annotations

import pytest

from verifiers.yaml import parse_yaml


def test_a_single_value_may_be_repeated_by_an_alias():
    assert parse_yaml("a: &x shapes/clip\nb: *x", "here") == {"a": "shapes/clip", "b": "shapes/clip"}


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "a: &x {c: 1}\nb: *x", "a: &x {c: 1}\nb: {<<: *x}", "&x [*x]"])
def test_a_collection_may_not(text):
    with pytest.raises(ValueError, match=r"bad YAML in here at line 1, column \d+: an alias of a list or mapping"):
        parse_yaml(text, "here")


def test_aliases_of_aliases_do_not_grow():
    lines = ["a0: &a0 [lol, lol]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
    with pytest.raises(ValueError, match="write it out"):
        parse_yaml("\n".join(lines), "here")
