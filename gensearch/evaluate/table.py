"""Summaries of an evaluation with confidence intervals, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gensearch.core.limits import CONTROLS
from gensearch.evaluate.bootstrap import LEVEL, RESAMPLES, Interval, interval, mean_of_tags
from gensearch.evaluate.plan import Plan
from verifiers.detect.summary import Outcome
from verifiers.detect.summary import summarise as sum_up

GUIDE = "guide"  # among the scores: those by the verifier that guided the searches
PAID = {"critic_tokens": "critic tokens", "microdollars": "microdollars"}  # shown where a remote critic was used
Record = dict[str, Any]
Summary = dict[str, Any]


def summarise(plan: Plan, judge: str, records: Sequence[Record], resamples: int = RESAMPLES) -> Summary:
    """Summarise an evaluation as plain data, over the (prompt, seed) pairs on which all methods are finished.

    Args:
        plan: of the evaluation.
        judge: name of the exact judge, whose verdict is the metric.
        records: of the journal, in any order.
        resamples: of the bootstrap, at least 1.

    Raises:
        ValueError: if no pair is finished with all methods.
    """
    rows, scores = finished(plan, records), measures(plan, judge)
    pairs = [(r["prompt"], r["seed"]) for r in rows[plan.reference]]
    return {
        "judge": judge,
        "baseline": plan.reference,
        "guide": next(method.verifier for method in plan.methods if method.name == plan.reference),
        "prompts": len({p for p, _ in pairs}),
        "pairs": len(pairs),
        "resamples": resamples,
        "level": LEVEL,
        "methods": {
            name: account(rows[name])
            | {
                "scores": {
                    s: compare(rows[name], rows[plan.reference], value, resamples) for s, value in scores.items()
                }
            }
            for name in rows
        },
    }


def finished(plan: Plan, records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each method, in the same order, on the pairs that all methods have finished.

    Args:
        plan: of the evaluation.
        records: of the journal, in any order.

    Raises:
        ValueError: if no pair is finished with all methods.
    """
    names = [method.name for method in plan.methods]
    by_job = {(r["method"], r["prompt"], r["seed"]): r for r in records}
    pairs = sorted({(p, s) for _, p, s in by_job if all((name, p, s) in by_job for name in names)})
    if not pairs:
        raise ValueError("no prompt is finished with all methods yet; run the same command again to go on")
    return {name: [by_job[name, p, s] for p, s in pairs] for name in names}


def measures(plan: Plan, judge: str) -> dict[str, Callable[[Record], float]]:
    """Return what is averaged, by name: the exact judge's verdict, each hold-out's score, and the guide's.

    Args:
        plan: of the evaluation.
        judge: name of the exact judge.
    """
    found: dict[str, Callable[[Record], float]] = {judge: verdict}
    found |= {name: partial(holdout_score, name) for name in plan.holdout if name != judge}
    return found | {GUIDE: partial(guide_score, same_guide(plan))}


def verdict(record: Record) -> float:
    """Return the score of the winner by the exact judge, 0 where it has none.

    Args:
        record: of one job.
    """
    return record["judge"] or 0.0


def holdout_score(holdout: str, record: Record) -> float:
    """Return the score of the winner by a hold-out, NaN where it has none.

    Args:
        holdout: its name.
        record: of one job.
    """
    value = record["holdout"][holdout]
    return float("nan") if value is None else value


def same_guide(plan: Plan) -> frozenset[str]:
    """Return the methods that are guided by the verifier of the baseline, so that their scores can be compared.

    Args:
        plan: of the evaluation.
    """
    by_name = {method.name: method for method in plan.methods}
    wanted = by_name[plan.reference].verifier
    return frozenset(
        name for name, m in by_name.items() if m.verifier == wanted and not m.select and m.search not in CONTROLS
    )


def guide_score(same: frozenset[str], record: Record) -> float:
    """Return the score of the winner by the guide, NaN where that is not the guide of the baseline.

    Args:
        same: the methods with the guide of the baseline.
        record: of one job.
    """
    value = record["score"] if record["method"] in same else None
    return float("nan") if value is None else value


def account(rows: Sequence[Record]) -> dict[str, Any]:
    """Return the shares of correct images and prompts of a method, and its total costs.

    Args:
        rows: the records of one method, one or more.
    """
    shares = sum_up(Outcome(row["tag"], str(row["prompt"]), verdict(row) == 1) for row in rows)
    spent = {column: sum(row["spent"][column] for row in rows) for column in rows[0]["spent"]}
    padding = {column: sum(row["padding"][column] for row in rows) for column in rows[0]["padding"]}
    return {
        "oracle": any(row["oracle"] for row in rows),
        "images": shares.images,
        "prompts": shares.prompts,
        "spent": spent,
        "padding": padding,
        "aside": {column: sum(row.get("aside", {}).get(column, 0) for row in rows) for column in PAID},
        "kl": average(rows, "kl"),
        "kl_first_order": average(rows, "kl_first_order"),
        "unscored": sum(row["unscored"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }


def average(rows: Sequence[Record], field: str) -> dict[str, float | None] | None:
    """Return the mean of a field and its standard error over prompts; None if a record lacks it.

    The error is None for a single prompt.

    Args:
        rows: records of one method.
        field: its name.
    """
    values = [float(row[field]) for row in rows if row.get(field) is not None]
    if len(values) < len(rows):
        return None
    means, _ = per_prompt(rows, values)
    error = float(np.std(means, ddof=1) / len(means) ** 0.5) if len(means) > 1 else None
    return {"mean": float(np.mean(values)), "error": error}


def compare(
    mine: Sequence[Record], base: Sequence[Record], value: Callable[[Record], float], resamples: int
) -> dict[str, Any]:
    """Return one score of one method: the mean of each tag, their mean, and the gain over the baseline.

    Seeds are averaged within each prompt first. Pairs without a score on one side are left out of the gain. Without any
    score there are no tags, and numbers are None.

    Args:
        mine: records of the method.
        base: records of the baseline on the same pairs.
        value: the score of a record, NaN where it has none.
        resamples: of the bootstrap, at least 1.
    """
    known = per_prompt(mine, [value(row) for row in mine])
    tags, overall = mean_of_tags(*known) if len(known[0]) else ({}, None)
    both = per_prompt(mine, [value(a) - value(b) for a, b in zip(mine, base, strict=True)])
    gain = interval(*both, resamples=resamples) if len(both[0]) else Interval(*[float("nan")] * 3)
    return {"tags": tags, "overall": overall, "gain": {k: v if v == v else None for k, v in gain._asdict().items()}}


def per_prompt(rows: Sequence[Record], values: Sequence[float]) -> tuple[np.ndarray, list[str]]:
    """Return the mean and the tag of each prompt over its seeds with a value; prompts without any are left out.

    Args:
        rows: records.
        values: one per record, NaN where there is none.
    """
    by_prompt: dict[tuple[str, int], list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        if value == value:
            by_prompt.setdefault((row["tag"], row["prompt"]), []).append(value)
    return np.array([np.mean(v) for v in by_prompt.values()]), [tag for tag, _ in by_prompt]


# --- text
