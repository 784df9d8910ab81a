"""The share of a gain that a method keeps averages within tags, like the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kept_gain import kept, shares
from tests.builders.evaluations import write_run


def test_tags_weigh_alike():
    mine, top, tags = np.array([1.0, 1.0, 0.0, 0.0, 0.0]), np.ones(5), ["a", "a", "b", "b", "b"]
    assert kept(mine, top, tags)["share"] == pytest.approx(0.5)  # the mean over prompts would be 0.4


def test_the_interval_is_that_of_a_mean_where_the_search_gains_the_same_everywhere():
    """With a constant denominator the share is the method's mean gain; standard error of 400 Gaussians: 0.05."""
    mine = 0.5 + np.random.default_rng(0).normal(size=400)
    found = kept(mine, np.ones(400), ["a"] * 400)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.05, rel=0.12)
    assert found["low"] < found["share"] < found["high"]


def test_shares_of_a_run_equal_the_gains_of_its_table(tmp_path: Path):
    run = write_run(tmp_path / "run", {"base": 0.2, "half": 0.5, "top": 0.9})
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]

    def overall(method):
        tags: dict[str, list[float]] = {}
        for line in lines:
            if line["method"] == method:
                tags.setdefault(line["tag"], []).append(line["judge"])
        return np.mean([np.mean(values) for values in tags.values()])

    expected = (overall("half") - overall("base")) / (overall("top") - overall("base"))
    found = shares(run, "base", "top")
    assert found["half"]["exact"]["share"] == pytest.approx(expected)
    assert found["top"]["exact"]["share"] == pytest.approx(1)
    assert set(found["half"]) == {"exact", "random", "guide"}
