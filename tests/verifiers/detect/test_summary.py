"""GenEval's headline numbers."""

from __future__ import annotations

import numpy as np
import pytest

from verifiers.detect.summary import Outcome, Summary, summarise

FIXTURE = {
    ("single_object", "a"): "1111",
    ("two_object", "b"): "1000",
    ("two_object", "c"): "0000",
    ("counting", "d"): "1100",
    ("colors", "e"): "1110",
    ("position", "f"): "0000",
    ("color_attr", "g"): "0100",
}


def verdicts(fixture: dict[tuple[str, str], str]) -> list[Outcome]:
    return [Outcome(*key, flag == "1") for key, flags in fixture.items() for flag in flags]


def test_the_fixture_gives_the_numbers_of_the_original_script() -> None:
    summary = summarise(verdicts(FIXTURE))
    assert summary.overall == pytest.approx(0.43750, abs=1e-12)
    assert f"{summary.images:.2%} {summary.prompts:.2%}" == "39.29% 71.43%"
    assert summary.tags["two_object"] == 0.125


def test_the_order_of_the_verdicts_changes_no_bit() -> None:
    lines = verdicts(FIXTURE)
    shuffled = [lines[i] for i in np.random.default_rng(3).permutation(len(lines))]
    assert summarise(shuffled) == summarise(lines)


def test_any_tags_and_uneven_sizes() -> None:
    summary = summarise(verdicts({("color_count", "p"): "10", ("negation", "q"): "1", ("negation", "r"): "00"}))
    assert summary == Summary({"color_count": 1 / 2, "negation": 1 / 3}, (1 / 2 + 1 / 3) / 2, 2 / 5, 2 / 3)


def test_the_same_words_under_two_tags_are_two_prompts() -> None:
    assert summarise(verdicts({("x", "p"): "1", ("y", "p"): "0"})).prompts == 0.5


def test_no_verdicts_are_refused() -> None:
    with pytest.raises(ValueError, match="no verdicts"):
        summarise([])
