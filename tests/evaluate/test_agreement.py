"""Agreement with the truth: against plain loops and closed cases."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from gensearch.evaluate.agreement import flipped, pair_accuracy, ranks, spearman, tied

NAN = float("nan")


def values(*numbers):
    return np.array(numbers, dtype=float)


def test_accuracy_counts_pairs():
    rng = np.random.default_rng(0)
    scores, good = rng.integers(0, 4, 12).astype(float), rng.integers(0, 2, 12).astype(float)
    pairs = list(product(scores[good == 1], scores[good == 0]))
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    assert pair_accuracy(scores, good) == pytest.approx(expected)
    assert pair_accuracy(-scores, good) == pytest.approx(1 - expected)
    assert pair_accuracy(good, good) == 1
    assert pair_accuracy(np.append(scores, NAN), np.append(good, 1)) == pytest.approx(expected)


def test_accuracy_is_unknown_where_all_are_right():
    assert np.isnan(pair_accuracy(values(1, 2), values(1, 1)))
    assert np.isnan(pair_accuracy(values(NAN, 2), values(1, 0)))


def test_ties_are_counted_as_pairs():
    scores = np.random.default_rng(1).integers(0, 3, 10).astype(float)
    assert tied(scores) == pytest.approx(np.mean([a == b for a, b in combinations(scores, 2)]))
    assert tied(np.append(scores, [NAN, NAN])) == pytest.approx(tied(scores))
    assert np.isnan(tied(values(1, NAN)))


def test_ranks_share_their_mean():
    assert ranks(values(5, 1, 5, 9)).tolist() == [1.5, 0, 1.5, 3]


def test_spearman_is_the_correlation_of_ranks():
    rng = np.random.default_rng(2)
    one, other = rng.permutation(30).astype(float), rng.normal(size=30)
    distance = np.square(one - other.argsort().argsort()).sum()
    assert spearman(one, other) == pytest.approx(1 - 6 * distance / (30 * (30**2 - 1)))  # without ties
    assert spearman(values(1, 1, 2, 3), values(1, 2, 2, 4)) == pytest.approx(5 / 6)  # with ties
    assert spearman(other, np.exp(other)) == pytest.approx(1)
    assert spearman(np.append(one, NAN), np.append(other, 0)) == pytest.approx(spearman(one, other))
    assert np.isnan(spearman(values(1, 1), values(1, 2)))
    assert np.isnan(spearman(values(NAN), values(1)))


def test_a_flip_is_a_verdict_for_whichever_comes_first():
    assert flipped(values(0.9, 0.9, 0.5, NAN), values(0.1, 0.8, 0.9, 0.9)) == pytest.approx(1 / 3)
    assert flipped(values(1, 0), values(0, 1)) == 0
    assert np.isnan(flipped(values(NAN), values(0.5)))
