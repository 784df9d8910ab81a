"""Several folders as one evaluation: shards, methods of one name, pairs by prompt and noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gensearch.evaluate.report.merge import merge
from tests.builders.evaluations import write_run


def test_one_run_keeps_its_names(tmp_path: Path):
    found = merge([write_run(tmp_path / "one", {"base": 0.2, "best": 0.6})])
    assert [method.name for method in found.plan.methods] == ["base", "best"]
    assert (found.benchmark, found.judge, found.plan.reference) == ("world", "world/judge", "base")
    assert len(found.records) == 2 * 12 * 2
    assert found.notes == []


def test_shards_of_one_run_are_one_method(tmp_path: Path):
    whole = merge([write_run(tmp_path / "whole", {"base": 0.2, "best": 0.6})])
    odds = {"base": 0.2, "best": 0.6}
    even = write_run(tmp_path / "even", odds, only=lambda p: p % 2 == 0)
    parts = [even, write_run(tmp_path / "odd", odds, only=lambda p: p % 2 == 1)]
    found = merge(parts)

    def verdicts(merged):
        return sorted((r["method"], r["text"], r["root"], r["judge"]) for r in merged.records)

    assert verdicts(found) == verdicts(whole)
    assert [method.name for method in found.plan.methods] == ["base", "best"]


def test_a_trial_in_two_folders_counts_once(tmp_path: Path):
    one = write_run(tmp_path / "one", {"base": 0.2, "best": 0.6})
    assert len(merge([one, one]).records) == len(merge([one]).records)


@pytest.mark.parametrize("change", [{"identity": "other"}, {"compute": 9}])
def test_different_methods_of_one_name_are_told_apart(tmp_path: Path, change):
    one = write_run(tmp_path / "one", {"base": 0.2, "best": 0.6})
    two = write_run(tmp_path / "two", {"base": 0.2, "best": 0.9}, changed={"best": change})
    names = [method.name for method in merge([one, two]).plan.methods]
    assert names == ["base", "one/best", "two/best"]
    assert merge([one, two], "two/best").plan.reference == "two/best"


def test_prompts_are_paired_by_text_and_noise_whatever_their_order(tmp_path: Path):
    one = write_run(tmp_path / "one", {"base": 0.2})
    two = write_run(tmp_path / "two", {"best": 0.6}, turned=True)
    found = merge([one, two])
    by: dict[tuple[int, int], set[tuple[str, int]]] = {}
    for record in found.records:
        by.setdefault((record["prompt"], record["seed"]), set()).add((record["text"], record["root"]))
    assert {len(pairs) for pairs in by.values()} == {1}
    assert len(by) == 24


def test_what_is_missing_is_said(tmp_path: Path):
    one = write_run(tmp_path / "one", {"base": 0.2})
    two = write_run(tmp_path / "two", {"best": 0.6}, only=lambda p: p < 9)
    plan = json.loads((two / "plan.json").read_text())
    (two / "plan.json").write_text(json.dumps(plan | {"torch": "other"}))
    (two / "failed.jsonl").write_text('{"method": "best"}\n')
    said = " ".join(merge([one, two]).notes)
    assert "6 of 24 pairs" in said
    assert "1 trials of" in said
    assert "different versions of torch" in said


def test_candidates_get_the_new_numbers(tmp_path: Path):
    one = write_run(tmp_path / "one", {"base": 0.2})
    two = write_run(tmp_path / "two", {"best": 0.6}, turned=True, candidates=4)
    found = merge([one, two])
    top = {(r["prompt"], r["seed"]): r["judge"] for r in found.records if r["method"] == "best"}
    assert len(found.candidates) == 24
    for one_trial in found.candidates:
        assert top[one_trial.prompt, one_trial.seed] == one_trial.scores["judge"][0]


def test_mistakes_name_the_way_out(tmp_path: Path):
    one = write_run(tmp_path / "one", {"base": 0.2})
    with pytest.raises(ValueError, match="holds no plan.json; give folders that `gensearch evaluate --out` wrote"):
        merge([tmp_path])
    with pytest.raises(ValueError, match="the baseline 'bse' is not a method; take one of base"):
        merge([one], "bse")
    other = write_run(tmp_path / "other", {"base": 0.2}, benchmark="elsewhere")
    with pytest.raises(ValueError, match="on different benchmarks"):
        merge([one, other])
    (one / "results.jsonl").unlink()
    with pytest.raises(ValueError, match="has no results yet"):
        merge([one])
