"""Closed forms of power and variance against simulations, whose standard errors are stated."""

from __future__ import annotations

import numpy as np
import pytest

from gensearch.evaluate.bootstrap import interval
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.power import (
    Variance,
    blind,
    by_chance,
    components,
    detectable,
    measured,
    small_tags,
    standard_error,
    worst,
)
from gensearch.evaluate.significance import sign_flip

PROMPTS = {"a": 8, "b": 24, "c": 48}
TAGS = [tag for tag, n in PROMPTS.items() for _ in range(n)]


def differences(rng, shift, seeds, variances):
    """Differences of each prompt, averaged over its seeds."""
    parts = []
    for tag, n in PROMPTS.items():
        prompt = rng.normal(0, np.sqrt(variances[tag].prompts), (n, 1))
        parts.append((shift + prompt + rng.normal(0, np.sqrt(variances[tag].seeds), (n, seeds))).mean(1))
    return np.concatenate(parts)


def overall(values):
    return np.mean([values[np.array(TAGS) == tag].mean() for tag in PROMPTS])


VARIANCES = {"a": Variance(0.3, 0.2), "b": Variance(0.1, 0.4), "c": Variance(0.05, 0.0)}


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_standard_error_is_that_of_simulated_runs(seeds):
    """4,000 runs; relative standard error of a standard deviation: 1.1 %."""
    rng = np.random.default_rng(seeds)
    found = np.std([overall(differences(rng, 0, seeds, VARIANCES)) for _ in range(4000)])
    assert standard_error(VARIANCES, PROMPTS, seeds) == pytest.approx(found, rel=0.045)


def test_the_detectable_difference_is_found_in_80_percent_of_runs():
    """1,500 runs by the normal test; standard error 1 %. The interval of the tables finds as much within 4 %."""
    error = standard_error(VARIANCES, PROMPTS, 2)
    shift, rng = detectable(error), np.random.default_rng(5)
    runs = [differences(rng, shift, 2, VARIANCES) for _ in range(1500)]
    assert np.mean([abs(overall(run)) > 1.96 * error for run in runs]) == pytest.approx(0.8, abs=0.035)
    tests = [interval(run, TAGS, resamples=400).low > 0 for run in runs[:300]]
    assert np.mean(tests) == pytest.approx(0.8, abs=0.08)
    assert np.mean([sign_flip(run, TAGS, flips=399) <= 0.05 for run in runs[:200]]) == pytest.approx(0.8, abs=0.1)


def test_more_comparisons_need_larger_differences():
    assert detectable(1.0) == pytest.approx(2.8016, abs=1e-3)
    assert detectable(1.0, 10) == pytest.approx(2.8070 + 0.8416, abs=1e-3)


def test_the_worst_case_bounds_simulated_verdicts():
    """Verdicts of two independent methods; 2,000 runs, relative standard error 1.6 %. A half is the worst rate."""
    rng, bound = np.random.default_rng(2), standard_error(worst(PROMPTS), PROMPTS, 1)
    for rate, reaches in ((0.5, 1.0), (0.2, 0.8), (0.05, 0.4358898943540674)):
        runs = [(rng.random(len(TAGS)) < rate) * 1.0 - (rng.random(len(TAGS)) < rate) for _ in range(2000)]
        assert np.std([overall(run) for run in runs]) == pytest.approx(reaches * bound, rel=0.07)
    assert standard_error(worst(PROMPTS), PROMPTS, 9) == bound


def test_a_control_without_effect_stays_within_its_limits_in_95_percent_of_runs():
    """2,000 runs of fair coins, two seeds; standard error 0.5 %."""
    rng, bar = np.random.default_rng(4), blind(None, PROMPTS, 2)
    runs = [
        (rng.random((len(TAGS), 2)) < 0.5).mean(1) - (rng.random((len(TAGS), 2)) < 0.5).mean(1) for _ in range(2000)
    ]
    assert np.mean([abs(overall(run)) <= bar for run in runs]) == pytest.approx(0.95, abs=0.02)


def test_components_are_unbiased():
    """2,000 tables of 12 prompts; relative standard errors below 2 %. The floor of 0 is rarely reached here."""
    rng = np.random.default_rng(6)
    found = [
        components((rng.normal(0, np.sqrt(0.5), (12, 1)) + rng.normal(0, np.sqrt(0.3), (12, 3))).tolist())
        for _ in range(2000)
    ]
    assert np.mean([one.prompts for one in found]) == pytest.approx(0.5, rel=0.06)
    assert np.mean([one.seeds for one in found]) == pytest.approx(0.3, rel=0.04)


def test_one_seed_is_all_between_prompts():
    assert components([[1.0], [0.0], [0.0], [1.0]]) == pytest.approx((1 / 3, 0.0))


def test_small_tags_and_chance():
    assert small_tags(PROMPTS, 1) == {"a": pytest.approx(1.96 * 0.25, rel=1e-3), "b": pytest.approx(0.2829, rel=1e-3)}
    assert small_tags(PROMPTS, 4) == {}
    assert by_chance(1) == pytest.approx(0.05)
    assert by_chance(11) == pytest.approx(0.4312, abs=1e-4)


def test_variances_of_an_earlier_run_by_hand():
    plan = Plan.model_validate({"seeds": 2, "methods": [{"name": "base"}, {"name": "best"}]})
    verdicts = {"base": [(0, 0), (0, 1), (0, 0)], "best": [(1, 1), (0, 1), (1, 0)]}
    records = [
        {"method": name, "prompt": p, "seed": s, "tag": "t", "judge": float(v)}
        for name, rows in verdicts.items()
        for p, row in enumerate(rows)
        for s, v in enumerate(row)
    ]
    within = (0 + 0 + 0.5) / 3
    between = np.var([1, 0, 0.5], ddof=1) - within / 2
    assert measured(plan, records)["best"]["t"] == pytest.approx((between, within))
    alone = plan.model_copy(update={"methods": plan.methods[:1]})
    with pytest.raises(ValueError, match="base is the only method"):
        measured(alone, records)
