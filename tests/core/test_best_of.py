"""Best-of-n from a pool: against all subsets, closed forms, ties and unscored samples."""

from __future__ import annotations

from itertools import combinations
from math import comb, pi, sqrt

import numpy as np
import pytest

from gensearch.core.best_of import best_of

MAXIMA = {1: 0.0, 2: 1 / sqrt(pi), 4: 1.02938, 8: 1.42360, 16: 1.76599, 64: 2.34373}  # E[max] of n N(0, 1)


@pytest.mark.parametrize("n", range(1, 7))
def test_it_is_the_mean_over_all_subsets(n):
    rng = np.random.default_rng(n)
    scores, values = rng.normal(size=6), rng.normal(size=6)
    subsets = [list(subset) for subset in combinations(range(6), n)]
    expected = np.mean([values[subset][np.argmax(scores[subset])] for subset in subsets])
    assert best_of(scores, values, n) == pytest.approx(expected, rel=1e-12)


def test_ties_are_broken_evenly():
    scores, values = [1, 1, 0, 1], np.array([3.0, 5, 100, 7])
    winners = [
        values[[i for i in s if scores[i] == max(scores[j] for j in s)]].mean() for s in combinations(range(4), 2)
    ]
    assert best_of(scores, values, 2) == pytest.approx(np.mean(winners))
    assert best_of([7] * 4, values, 3) == pytest.approx(values.mean())


def test_the_exact_judge_gives_pass_at_k():
    verdicts = [1, 0, 0, 1, 0, 0, 0, 0]
    for n in range(1, 9):
        assert best_of(verdicts, verdicts, n) == pytest.approx(1 - comb(6, n) / comb(8, n))


@pytest.mark.parametrize("n", MAXIMA)
def test_the_maximum_of_n_gaussians(n):
    pools = np.random.default_rng(0).normal(size=(100, 256))
    found = [best_of(pool, pool, n) for pool in pools]
    assert np.mean(found) == pytest.approx(MAXIMA[n], abs=4 * float(np.std(found)) / 10)


def test_it_is_unbiased_for_any_size_of_pool():
    draws = np.random.default_rng(1).normal(size=(1000, 6))
    assert np.mean([best_of(pool, pool, 4) for pool in draws]) == pytest.approx(MAXIMA[4], abs=0.08)


def test_unscored_samples_win_only_against_their_like():
    scores, values = [np.nan, 1.0, np.nan, np.nan], [10.0, 2.0, 20.0, 30.0]
    assert best_of(scores, values, 4) == 2
    assert best_of(scores, values, 1) == pytest.approx(15.5)
    assert best_of([np.nan] * 3, [1, 2, 3], 2) == 2


def test_large_pools_do_not_overflow():
    values = np.arange(20_000.0)
    assert best_of(values, values, 10_000) == pytest.approx(10_000 * 20_001 / 10_001 - 1, rel=1e-9)


@pytest.mark.parametrize(("scores", "values", "n"), [([1], [1], 0), ([1], [1], 2), ([1, 2], [1], 1)])
def test_what_cannot_be_drawn_is_refused(scores, values, n):
    with pytest.raises(ValueError, match="give as many scores as values, and n from 1"):
        best_of(scores, values, n)
