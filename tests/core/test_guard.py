"""Signs of over-optimisation as pure functions: closed forms, exact chances and what is not finite."""

from __future__ import annotations

from math import exp, log, nan, sqrt

import numpy as np
import pytest
import torch

from gensearch.core.guard import (
    ADVICE,
    FEWEST,
    Guard,
    by_split,
    corrected,
    falls,
    read_guard,
    shell_distance,
    summary,
    thumbnails,
    variety,
    vendi,
    warning,
)

MAXIMA = {2: 0.5642, 4: 1.0294, 16: 1.7660}  # E[max] of n N(0, 1)


@pytest.mark.parametrize("n", MAXIMA)
def test_selection_by_noise_is_worth_nothing_once_it_is_corrected(n):
    rng = np.random.default_rng(n)
    raw, fixed, errors = [], [], []
    for _ in range(4000):
        noise = rng.normal(size=n)  # all samples are equally good: scores differ by noise alone
        shift = rng.normal(-2, 1)  # what the changes cost everybody
        value, error = corrected(noise[0], *(rng.normal(size=(2, 4)) + shift).tolist())
        raw.append(noise.max())
        fixed.append(value)
        errors.append(error)
    assert np.mean(raw) == pytest.approx(MAXIMA[n], abs=0.05)
    assert np.mean(fixed) == pytest.approx(0, abs=4 * float(np.std(fixed)) / sqrt(4000))
    assert np.mean(np.square(errors)) == pytest.approx(2 / 4, rel=0.1)  # variance of a difference, over four changes


def test_a_real_gain_survives_the_correction():
    rng = np.random.default_rng(0)
    fixed = []
    for _ in range(4000):
        quality = rng.normal(size=8)
        scores = quality + rng.normal(size=8)
        best = int(scores.argmax())
        fixed.append(corrected(scores[0], quality[best] + rng.normal(size=4), quality[0] + rng.normal(size=4))[0])
    expected = 1.4236 / sqrt(2)  # half of the variance is quality, so that it gets 1 / sqrt(2) of E[max]
    assert np.mean(fixed) == pytest.approx(expected, abs=4 * float(np.std(fixed)) / sqrt(4000))


@pytest.mark.parametrize(("weights", "error"), [((0.5, 0.5), 1.0), ((1.0, 1.0, 1.0), 2.0), ((0.2, 1.5, 0.7, 0.4), 1.5)])
def test_a_split_of_the_verifiers_is_unbiased_where_their_noise_is_independent(weights, error):
    rng, w, n = np.random.default_rng(len(weights)), np.array(weights), 16
    raw, fixed, worthless = [], [], []
    for _ in range(6000):
        quality, noise = rng.normal(size=(n, 1)), error * rng.normal(size=(n, len(w)))
        raw.append(((quality + noise) @ w).max())
        fixed.append(by_split(torch.tensor((quality + noise) * w)))
        worthless.append(by_split(torch.tensor(noise * w)))
    others = [np.delete(w, k) for k in range(len(w))]  # who picks the sample that verifier k reports on
    share = [rest.sum() / sqrt(rest.sum() ** 2 + error**2 * (rest**2).sum()) for rest in others]
    expected = MAXIMA[n] * float(np.dot(w, share))  # each weight times the quality of a pick by the others
    spread = 4 * float(np.std(fixed)) / sqrt(6000)
    assert np.mean(fixed) == pytest.approx(expected, abs=spread)
    assert np.mean(worthless) == pytest.approx(0, abs=4 * float(np.std(worthless)) / sqrt(6000))
    true = MAXIMA[n] * w.sum() ** 2 / sqrt(w.sum() ** 2 + error**2 * (w**2).sum())  # of the pick by all of them
    assert expected < true < np.mean(raw) - spread


def test_a_split_by_hand():
    worth = torch.tensor([[3.0, 0.0], [1.0, 2.0], [nan, 9.0], [9.0, -torch.inf]])
    assert by_split(worth) == 1.0 + 0.0  # the second picks row 1, of which the first says 1; the first picks row 0
    assert by_split(worth[:1]) == 3.0
    assert all(np.isnan(by_split(each)) for each in (worth[:, :1], worth[2:], worth[:0]))


def test_a_single_change_has_no_error_and_nan_stays_nan():
    value, error = corrected(1.0, [2.0], [0.5])
    assert (value, np.isnan(error)) == (2.5, True)
    assert np.isnan(corrected(1.0, [nan, 2.0], [0.0, 0.0])[0])


@pytest.mark.parametrize("others", [9, 15, 19])
def test_the_chance_of_a_false_alarm_is_one_in_the_number_of_samples(others):
    draws = np.random.default_rng(others).exponential(size=(20_000, others + 1))  # any distribution will do
    rate = np.mean([falls(row[0], row[1:].tolist()) for row in draws])
    assert rate == pytest.approx(1 / (others + 1), abs=0.006)


def test_too_few_samples_equal_scores_and_nan_raise_no_alarm():
    assert falls(0, [1.0] * FEWEST)
    assert not falls(0, [1.0] * (FEWEST - 1))
    assert not falls(0, [1.0] * 12 + [0.0])
    assert not falls(nan, [1.0] * 12)
    assert not falls(0, [1.0] * (FEWEST - 1) + [nan] * 5)


def test_the_warning_needs_a_guide_that_rises_and_names_the_numbers():
    text = warning("other", (0.9, 0.5), (0.125, 0.75), [0.5] * 19)
    for part in ("from 0.5 to 0.9", "other", "from 0.75 to 0.125", "19 other samples", "1 in 20"):
        assert part in text
    assert warning("other", (0.5, 0.5), (0.125, 0.75), [0.5] * 19) == ""
    assert warning("other", (0.9, 0.5), (0.6, 0.75), [0.5] * 19) == ""


def test_distance_from_the_shell():
    assert shell_distance(torch.ones(3, 4)) == 0
    assert shell_distance(torch.zeros(8)) == -2  # -8 / sqrt(16)
    noise = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    found = np.array([shell_distance(row) for row in noise])
    assert found.mean() == pytest.approx(0, abs=0.1)
    assert found.std() == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_vendi_of_equal_and_of_unrelated_samples(n):
    assert vendi(torch.ones(n, n)) == pytest.approx(1)
    assert vendi(torch.eye(n)) == pytest.approx(n)


def test_vendi_of_two_groups_is_the_exponential_of_their_entropy():
    group = torch.tensor([0, 0, 0, 1])
    assert vendi((group[:, None] == group).float()) == pytest.approx(exp(-0.75 * log(0.75) - 0.25 * log(0.25)))
    cosine = 0.6
    both = [(1 + cosine) / 2, (1 - cosine) / 2]
    similar = torch.tensor([[1, cosine], [cosine, 1]])
    assert vendi(similar) == pytest.approx(exp(-sum(p * log(p) for p in both)))


def test_variety_of_a_pool():
    distance, distinct = variety(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert distance == pytest.approx(2 / 3)
    assert distinct == pytest.approx(exp(-2 / 3 * log(2 / 3) - 1 / 3 * log(1 / 3)), rel=1e-6)
    assert variety(torch.zeros(5, 3)) == pytest.approx((0, 1))
    assert np.isnan(variety(torch.zeros(1, 3))[0])
    rows = torch.tensor([[0.0], [nan], [1.0]])
    assert variety(rows)[0] == 1
    assert variety(torch.rand(1000, 4))[1] > 1  # more than it measures
    assert variety(torch.full((3, 1), nan))[1] == 0


def test_thumbnails_are_means_of_cells_and_of_frames():
    media = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    expected = media.view(2, 3, 8, 8, 8, 6).mean((3, 5)).flatten(1)
    assert torch.allclose(thumbnails(media), expected, atol=1e-6)
    clip = torch.stack([media, media.flip(-1)], 1)
    assert torch.allclose(thumbnails(clip), (thumbnails(media) + thumbnails(media.flip(-1))) / 2, atol=1e-6)
    assert thumbnails(torch.rand(1, 3, 5, 7)).shape == (1, 192)


def test_the_summary_is_short_and_leaves_out_what_is_unknown():
    guard = Guard(0.5, 0.01, 0.2, 7.3, 0.4, {}, ("it falls",), 26, 0.25)
    assert summary(guard, True) == [
        "guard: score 0.5 +- 0.01 corrected for selection; 7.3 distinct samples; noise +0.4 sd from its shell; 0.2 s",
        "warning: it falls",
    ]
    assert summary(guard, False)[-1] == ADVICE
    tokens = read_guard({**guard._asdict(), "shell": None, "warnings": []})
    assert "shell" not in summary(tokens, True)[0]
