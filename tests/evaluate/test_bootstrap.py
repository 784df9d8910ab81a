"""The paired bootstrap: its coverage, its symmetries, and why it is paired and stratified."""

from __future__ import annotations

import numpy as np
import pytest

from gensearch.evaluate.bootstrap import interval, mean_of_tags, strata
from verifiers.detect.summary import Outcome, summarise

SIZES = {"a": 8, "b": 24, "c": 16, "d": 30}
TAGS = [tag for tag, size in SIZES.items() for _ in range(size)]


def test_overall_is_the_mean_of_the_tags_as_in_geneval():
    rng = np.random.default_rng(3)
    correct = rng.random(len(TAGS)) < 0.3
    tags, overall = mean_of_tags(correct, TAGS)
    expected = summarise(Outcome(t, str(i), bool(c)) for i, (t, c) in enumerate(zip(TAGS, correct, strict=True)))
    assert tags == pytest.approx(expected.tags, abs=1e-12)
    assert overall == pytest.approx(expected.overall, abs=1e-12)
    assert overall != pytest.approx(correct.mean(), abs=1e-3)  # the mean over pictures is another number


def test_the_interval_has_its_nominal_coverage():
    """800 experiments with the tag sizes of GenEval-Shapes; standard error of a 95 % coverage: 0.77 %."""
    rng, experiments, covered = np.random.default_rng(11), 800, 0
    sizes = {"single": 8, "two": 16, "counting": 24, "colors": 16, "position": 48, "attributes": 48}
    ups = {"single": 0.08, "two": 0.25, "counting": 0.3, "colors": 0.1, "position": 0.08, "attributes": 0.32}
    downs = {"single": 0.02, "two": 0.05, "counting": 0.1, "colors": 0.05, "position": 0.02, "attributes": 0.08}
    tags = [tag for tag, size in sizes.items() for _ in range(size)]
    truth = np.mean([ups[tag] - downs[tag] for tag in sizes])
    for seed in range(experiments):
        u = rng.random(len(tags))
        won, lost = (np.array([chance[tag] for tag in tags]) for chance in (ups, downs))
        found = interval((u < won) * 1.0 - (u > 1 - lost), tags, resamples=400, seed=seed)
        covered += bool(found.low <= truth <= found.high)
    assert abs(covered / experiments - 0.95) < 3 * 0.0077


def test_the_width_is_that_of_the_unbiased_standard_error():
    """With n draws from a tag of n, the width would be sqrt(7/8) of this; 40,000 resamples leave it about 0.5 % off."""
    values = np.random.default_rng(5).normal(size=8)
    found = interval(values, ["a"] * 8, resamples=40_000, level=0.6827)
    assert (found.high - found.low) / 2 == pytest.approx(values.std(ddof=1) / 8**0.5, rel=0.02)


def test_identical_methods_differ_by_exactly_nothing():
    assert interval(np.zeros(len(TAGS)), TAGS) == (0.0, 0.0, 0.0)


def test_the_order_of_prompts_does_not_matter_to_the_last_bit():
    rng = np.random.default_rng(8)
    values, order = rng.normal(size=len(TAGS)), rng.permutation(len(TAGS))
    assert interval(values[order], [TAGS[i] for i in order], resamples=500) == interval(values, TAGS, resamples=500)


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(9).normal(size=len(TAGS))
    assert interval(values, TAGS, resamples=500) == interval(values, TAGS, resamples=500)
    assert interval(values, TAGS, resamples=500, seed=1) != interval(values, TAGS, resamples=500)


def test_pairing_takes_the_difficulty_of_prompts_out():
    """Scores with correlation 0.9: paired differences have a tenth of the unpaired variance, a third of the width."""
    rng = np.random.default_rng(21)
    hardness = rng.normal(size=len(TAGS)) * 3
    a, b = (hardness + rng.normal(size=len(TAGS)) for _ in range(2))
    paired = interval(a - b, TAGS, resamples=4000)
    unpaired = interval(a - b[rng.permutation(len(TAGS))], TAGS, resamples=4000)
    ratio = (paired.high - paired.low) / (unpaired.high - unpaired.low)
    assert ratio == pytest.approx(0.1**0.5, rel=0.35)


def test_differences_between_tags_do_not_widen_the_interval():
    """Constant within each tag: no uncertainty about these tags, however unlike they are."""
    values = np.array([ord(tag) for tag in TAGS], dtype=float)
    found = interval(values, TAGS, resamples=300)
    assert found == (98.5, 98.5, 98.5)


def test_a_tag_with_one_prompt_has_no_interval():
    found = interval([0.5, 0.1, 0.3], ["a", "b", "b"])
    assert found.mean == pytest.approx(0.35)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(("values", "tags"), [([], []), ([1.0], ["a", "b"])])
def test_values_and_tags_must_match(values, tags):
    with pytest.raises(ValueError, match="one tag per prompt"):
        strata(values, tags)
