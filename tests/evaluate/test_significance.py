"""The sign-flip test and Holm's correction against definitions written out, and their error rates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from gensearch.evaluate.significance import holm, sign_flip


def slow(differences, tags):
    """All sign patterns, one by one, with the mean over tags as a table would have it."""

    def overall(values):
        return np.mean([np.mean([v for v, t in zip(values, tags, strict=True) if t == tag]) for tag in set(tags)])

    seen = abs(overall(differences))
    flipped = [abs(overall(np.multiply(s, differences))) for s in product([1, -1], repeat=len(differences))]
    return np.mean([value >= seen - 1e-12 for value in flipped])


@pytest.mark.parametrize("seed", range(4))
def test_few_prompts_are_exact(seed):
    rng = np.random.default_rng(seed)
    differences, tags = rng.integers(-2, 3, size=9) / 2, ["a"] * 3 + ["b"] * 6
    assert sign_flip(differences, tags) == pytest.approx(slow(differences, tags))


def test_tags_weigh_alike_whatever_their_size():
    differences, tags = [0.3, 0.2] + [-0.1] * 8, ["small"] * 2 + ["large"] * 8
    assert sign_flip(differences, tags) == slow(differences, tags)
    assert sign_flip(differences, tags) < sign_flip(differences, ["one"] * 10)


def test_one_direction_only_has_the_smallest_p_value():
    assert sign_flip([0.5] * 6 + [0.0] * 20, ["a"] * 26) == 2 / 2**6
    assert sign_flip([0.0] * 5, ["a"] * 5) == 1.0
    assert sign_flip([1.0] * 60, ["a"] * 60, flips=999) == 1 / 1000


def test_random_flips_agree_with_the_permutation_test_of_scipy():
    """Standard error of either estimate at p = 0.1: 0.003."""
    differences = np.random.default_rng(1).normal(0.3, 1, 30)
    theirs = stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis), permutation_type="samples", n_resamples=9999, rng=5
    ).pvalue
    assert sign_flip(differences, ["a"] * 30) == pytest.approx(theirs, abs=0.015)


def test_without_a_difference_one_in_twenty_is_significant():
    """400 experiments; standard error of a rate of 5 %: 1.1 %."""
    rng, tags = np.random.default_rng(7), ["a"] * 8 + ["b"] * 24
    found = [
        sign_flip(one, tags, flips=399, seed=i)
        for i, one in enumerate((rng.random((400, 32)) < 0.4) * 1.0 - (rng.random((400, 32)) < 0.4))
    ]
    assert 0.01 < np.mean(np.array(found) <= 0.05) < 0.085


def test_order_of_prompts_and_direction_do_not_matter():
    rng = np.random.default_rng(3)
    differences, tags = rng.normal(0.2, 1, 40), [*"ab"] * 20
    order = rng.permutation(40)
    p = sign_flip(differences, tags)
    assert sign_flip(differences[order], [tags[i] for i in order]) == p
    assert sign_flip(-differences, tags) == pytest.approx(p, abs=0.02)


def test_holm_by_hand():
    """Holm's own kind of example: four tests, the third of which stops the procedure."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_holm_keeps_the_chance_of_any_false_finding():
    """2,000 families of ten true nulls; standard error 0.5 %. Without correction it is 40 %."""
    p = np.random.default_rng(0).random((2000, 10))
    any_found = [min(holm(dict(enumerate(row))).values()) <= 0.05 for row in p]
    assert np.mean(any_found) == pytest.approx(0.049, abs=0.015)
    assert np.mean(p.min(1) <= 0.05) > 0.35
