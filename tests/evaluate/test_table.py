"""From records to numbers and tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gensearch.evaluate.bootstrap import interval
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.table import summarise
from gensearch.evaluate.text import caption, cells, markdown

TAGS = ("one", "one", "two", "two", "two")
VERDICTS: dict[str, list[float | None]] = {  # method -> (prompt, seed) in order
    "base": [0, 0, 1, 0, 0, 0, 1, 1, 0, 0],
    "better": [1, 0, 1, 1, 0, 1, 1, 1, None, 0],
    "same": [0, 0, 1, 0, 0, 0, 1, 1, 0, 0],
}


def record(method: str, pair: int, correct: float | None) -> dict[str, Any]:
    return {
        "method": method,
        "prompt": pair // 2,
        "seed": pair % 2,
        "tag": TAGS[pair // 2],
        "oracle": method == "better",
        "judge": correct,
        "score": None if pair == 8 else 0.25 + (0.5 if method == "better" else 0),
        "holdout": {"other": None if pair == 3 else 0.125 * pair + (0.5 if method == "better" else 0)},
        "spent": {"nfe": 4 if method == "better" else 1, "scored": 2},
        "padding": {"nfe": 0, "scored": 6},
        "kl": 0.5 if method == "better" else 0.0,
        "kl_first_order": 0.0,
        "unscored": int(pair == 8),
        "seconds": 0.25,
    }


def evaluation() -> tuple[Plan, list[dict[str, Any]]]:
    plan = Plan.model_validate({"seeds": 2, "holdout": ["other"], "methods": [{"name": name} for name in VERDICTS]})
    return plan, [record(m, pair, v) for m, values in VERDICTS.items() for pair, v in enumerate(values)]


def test_scores_by_hand():
    plan, records = evaluation()
    summary = summarise(plan, "judge", records)
    base, better = (summary["methods"][name]["scores"]["judge"] for name in ("base", "better"))
    assert base["tags"] == {"one": 0.25, "two": pytest.approx(2 / 6)}
    assert better["tags"] == {"one": 0.75, "two": pytest.approx(3 / 6)}  # unscored counts as wrong
    assert better["overall"] == pytest.approx((0.75 + 3 / 6) / 2)
    assert better["gain"]["mean"] == pytest.approx((0.5 + 1 / 6) / 2)
    assert better["gain"] == interval([0.5, 0.5, 0.5, 0, 0], TAGS)._asdict()
    assert summary["methods"]["same"]["scores"]["judge"]["gain"] == {"mean": 0, "low": 0, "high": 0}
    assert summary["methods"]["better"]["scores"]["other"]["gain"] == {
        k: pytest.approx(0.5) for k in ("mean", "low", "high")
    }


def test_totals_and_labels():
    plan, records = evaluation()
    summary = summarise(plan, "judge", records)
    assert (summary["prompts"], summary["pairs"], summary["baseline"]) == (5, 10, "base")
    better = summary["methods"]["better"]
    assert better["spent"] == {"nfe": 40, "scored": 20}
    assert better["padding"] == {"nfe": 0, "scored": 60}
    assert (better["seconds"], better["unscored"]) == (2.5, 1)
    assert [name for name, method in summary["methods"].items() if method["oracle"]] == ["better"]
    json.dumps(summary, allow_nan=False)


def test_the_order_of_records_does_not_matter():
    plan, records = evaluation()
    assert summarise(plan, "judge", records[::-1]) == summarise(plan, "judge", records)


def test_shares_of_correct_images_and_prompts():
    plan, records = evaluation()
    methods = summarise(plan, "judge", records)["methods"]
    assert (methods["base"]["images"], methods["base"]["prompts"]) == (pytest.approx(3 / 10), pytest.approx(2 / 5))
    assert (methods["better"]["images"], methods["better"]["prompts"]) == (pytest.approx(6 / 10), pytest.approx(4 / 5))


@pytest.mark.parametrize("silent", [VERDICTS, ["base"], ["better"]])
def test_a_holdout_that_scored_nothing_is_a_dash(silent):
    plan, records = evaluation()
    records = [r | {"holdout": {"other": None}} if r["method"] in silent else r for r in records]
    summary = summarise(plan, "judge", records, resamples=200)
    column = cells(summary)[0].index("other (hold-out)")
    for (name, method), row in zip(summary["methods"].items(), cells(summary)[1], strict=True):
        other = method["scores"]["other"]
        assert (other["overall"] is None) == (row[column] == "-") == (name in silent)
        assert (other["gain"]["mean"] is None) == (name in silent or "base" in silent)
    json.dumps(summary, allow_nan=False)


def test_the_judge_held_out_reports_once():
    plan, records = evaluation()
    plan = plan.model_copy(update={"holdout": ("judge",)})
    records = [r | {"holdout": {"judge": r["judge"]}} for r in records]
    summary = summarise(plan, "judge", records, resamples=200)
    assert list(summary["methods"]["better"]["scores"]) == ["judge", "guide"]
    assert summary["methods"]["better"]["scores"]["judge"]["overall"] == pytest.approx((0.75 + 3 / 6) / 2)


@pytest.mark.parametrize("other", [{"verifier": "random"}, {"select": "random"}, {"search": "unguided"}])
def test_scores_of_another_guide_are_not_compared(other):
    plan, records = evaluation()
    better = plan.methods[1].model_copy(update=other)
    plan = plan.model_copy(update={"methods": (plan.methods[0], better, plan.methods[2])})
    summary = summarise(plan, "judge", records, resamples=200)
    found = {name: method["scores"]["guide"]["overall"] for name, method in summary["methods"].items()}
    assert found == {"base": 0.25, "better": None, "same": 0.25}


def test_only_pairs_that_all_methods_finished_count():
    plan, records = evaluation()
    part = [r for r in records if (r["method"], r["prompt"], r["seed"]) != ("same", 0, 1)]
    summary = summarise(plan, "judge", part)
    assert summary["pairs"] == 9
    assert summary["methods"]["base"]["spent"]["nfe"] == 9
    with pytest.raises(ValueError, match="no prompt is finished with all methods"):
        summarise(plan, "judge", [r for r in records if r["method"] != "same"])


def test_the_table_as_it_is_printed():
    plan, records = evaluation()
    text = markdown(summarise(plan, "judge", records, resamples=200))
    assert text.splitlines()[:5] == [
        "| method | one | two | overall | gain | other (hold-out) | shapes/critic (guide)"
        " | KL (nats) | NFE | scored | padding | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| base | 0.25 | 0.33 | 0.292 | baseline | 0.484 | 0.250 | 0.0 | 1.0 | 2.0 | 0.0% | 0.25 |",
        "| better (oracle) | 0.75 | 0.50 | 0.625 | +0.333 [+0.250, +0.500]"
        " | 0.984, +0.500 [+0.500, +0.500] | 0.750, +0.500 [+0.500, +0.500] | 0.5 | 4.0 | 2.0 | 0.0% | 0.25 |",
        "| same | 0.25 | 0.33 | 0.292 | +0.000 [+0.000, +0.000] | 0.484, +0.000 [+0.000, +0.000]"
        " | 0.250, +0.000 [+0.000, +0.000] | 0.0 | 1.0 | 2.0 | 0.0% | 0.25 |",
    ]
    assert "an upper bound, not evidence" in text


def changed(records: list[dict[str, Any]], method: str, **values: Any) -> list[dict[str, Any]]:
    """The records, with other values of one method: given, or by the number of the pair."""
    return [
        r | {k: v(2 * r["prompt"] + r["seed"]) if callable(v) else v for k, v in values.items()}
        if r["method"] == method
        else r
        for r in records
    ]


def column(summary: dict[str, Any], title: str) -> list[str]:
    header, rows = cells(summary)
    return [row[header.index(title)] for row in rows]


def test_a_divergence_that_is_not_known_of_all_pictures_is_a_dash():
    plan, records = evaluation()
    some = changed(records, "better", kl=lambda pair: None if pair == 2 else 0.5)
    assert column(summarise(plan, "judge", some, resamples=200), "KL (nats)") == ["0.0", "-", "0.0"]
    old = [{k: v for k, v in r.items() if not k.startswith("kl")} | {"nats": 0.5} for r in records]
    assert column(summarise(plan, "judge", old, resamples=200), "KL (nats)") == ["-", "-", "-"]


def test_an_estimated_divergence_has_its_error_over_prompts_and_stands_beside_the_first_order():
    plan, records = evaluation()
    some = changed(records, "better", kl=lambda pair: float(pair // 2), kl_first_order=9.75)
    summary = summarise(plan, "judge", changed(some, "same", kl_first_order=None), resamples=200)
    assert summary["methods"]["better"]["kl"] == {"mean": 2.0, "error": pytest.approx(0.5**0.5)}
    assert column(summary, "KL (nats)") == ["0.0", "2.0 +- 0.7", "0.0"]
    assert column(summary, "first order") == ["0.0", "9.8", "-"]
    assert "half the squared shift" in caption(summary)
    json.dumps(summary, allow_nan=False)


def test_without_passes_no_share_of_them_was_padding():
    plan, records = evaluation()
    some = changed(records, "better", spent={"nfe": 0, "scored": 2}, padding={"nfe": 0, "scored": 6})
    assert column(summarise(plan, "judge", some, resamples=200), "padding") == ["0.0%", "-", "0.0%"]


def test_token_steps_are_not_called_network_evaluations():
    plan, records = evaluation()
    some = changed(records, "better", spent={"nfe": 0, "scored": 2, "tokens": 128})
    assert column(summarise(plan, "judge", some, resamples=200), "NFE + tokens") == ["1.0", "128.0", "1.0"]


def test_without_oracles_and_with_single_prompts():
    plan, records = evaluation()
    few = [r | {"oracle": False} for r in records if r["prompt"] in (0, 2)]
    summary = summarise(plan, "judge", few)
    assert "oracle" not in caption(summary)
    assert cells(summary)[1][1][4] == "+0.500"  # one prompt per tag: no interval
    assert summary["methods"]["better"]["scores"]["judge"]["gain"]["low"] is None
