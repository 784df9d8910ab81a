"""Summaries of an evaluation with confidence intervals, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gensearch.core.ledger import Cost
from gensearch.core.limits import CONTROLS
from gensearch.evaluate.bootstrap import LEVEL, RESAMPLES, Interval, interval, mean_of_tags
from gensearch.evaluate.plan import Plan
from gensearch.runs.format import charged
from verifiers.detect.summary import Outcome
from verifiers.detect.summary import summarise as sum_up

GUIDE = "guide"  # among the scores: those by the verifier that guided the searches
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


PAID = {"critic_tokens": "critic tokens", "microdollars": "microdollars"}  # shown where a remote critic was used


def cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table, one row per method.

    Args:
        summary: of an evaluation.
    """
    judge, *others = next(iter(summary["methods"].values()))["scores"]
    titles = {name: f"{summary['guide']} (guide)" if name == GUIDE else f"{name} (hold-out)" for name in others}
    tags = list(next(iter(summary["methods"].values()))["scores"][judge]["tags"])
    header = ["method", *tags, "overall", "gain", *titles.values()]
    work = "NFE + tokens" if any(m["spent"].get("tokens") for m in summary["methods"].values()) else "NFE"
    shifted = any((m["kl_first_order"] or {}).get("mean") for m in summary["methods"].values())
    header += ["KL (nats)", *(["first order"] if shifted else []), work, "scored", "padding", "seconds"]
    spent_on = {column: max(m["spent"].get(column, 0) for m in summary["methods"].values()) for column in PAID}
    paid = [column for column, most in spent_on.items() if most]
    header += [PAID[column] for column in paid]
    rows = []
    for name, method in summary["methods"].items():
        scores, base = method["scores"], name == summary["baseline"]
        row = [f"{name} (oracle)" if method["oracle"] else name]
        row += [f"{scores[judge]['tags'][tag]:.2f}" for tag in tags] + [f"{scores[judge]['overall']:.3f}"]
        row.append("baseline" if base else limits(scores[judge]["gain"]))
        row += [reported(scores[name], base) for name in others]
        spent, padding = Cost(**method["spent"]), Cost(**method["padding"])
        row += [nats(method["kl"]), *([nats(method["kl_first_order"])] if shifted else [])]
        row += [f"{cost / summary['pairs']:.1f}" for cost in (spent.work, spent.scored)]
        passes = spent.plus(padding).work
        row.append(f"{padding.work / passes:.1%}" if passes else "-")
        row.append(f"{method['seconds'] / summary['pairs']:.2f}")
        rows.append(row + [f"{method['spent'].get(column, 0) / summary['pairs']:.0f}" for column in paid])
    return header, rows


def nats(found: dict[str, float | None] | None) -> str:
    """Return a divergence as text, with its standard error where it has one; a dash where it is not known.

    Args:
        found: mean and error, as `average` returns them.
    """
    if found is None:
        return "-"
    error = found["error"] or 0.0
    return f"{found['mean']:.1f}" + (f" +- {error:.1f}" if error >= 0.05 else "")


def reported(score: dict[str, Any], base: bool) -> str:
    """Return the mean and gain of a score as text; a dash without any score.

    Args:
        score: of one method, as `compare` returns it.
        base: whether the method is the baseline, which has no gain.
    """
    if score["overall"] is None:
        return "-"
    mean = f"{score['overall']:.3f}"
    return mean if base or score["gain"]["mean"] is None else f"{mean}, {limits(score['gain'])}"


def limits(gain: dict[str, float | None]) -> str:
    """Return a gain with its interval as text; without the interval where a tag has too few prompts.

    Args:
        gain: mean, low and high.
    """
    if gain["low"] is None:
        return f"{gain['mean']:+.3f}"
    return f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"


def caption(summary: Summary) -> str:
    """Return the caption of the table.

    Args:
        summary: of an evaluation.
    """
    text = (
        f"{summary['prompts']} prompts, {summary['pairs']} pairs of prompt and seed, scored by {summary['judge']}. "
        f"Overall is the unweighted mean of the tags. Gain is the difference to {summary['baseline']}, with a paired "
        f"{summary['level']:.0%} bootstrap interval over prompts ({summary['resamples']} resamples within tags). "
        "KL is an upper bound of the divergence from the base model in nats; the share of a noise hypernetwork is "
        "estimated to second order, with its standard error; a dash where no bound is known. "
        "Costs are means per picture: NFE (network function evaluations, where a backward pass counts as two); "
        "verifier calls; the share of passes that only filled physical batches; seconds."
    )
    if any((method["kl_first_order"] or {}).get("mean") for method in summary["methods"].values()):
        text += (
            " First order is half the squared shift of the noise, in nats: the divergence of a constant shift, and no "
            "bound of any other."
        )
    if any(method["oracle"] for method in summary["methods"].values()):
        text += " A method marked (oracle) was guided by the exact judge itself: an upper bound, not evidence."
    aside = {column: sum(method["aside"][column] for method in summary["methods"].values()) for column in PAID}
    if paid := charged(aside):
        text += f" Hold-outs took {paid} in all, which no budget counts."
    return text


def markdown(summary: Summary) -> str:
    """Return the table in Markdown with its caption.

    Args:
        summary: of an evaluation.
    """
    header, rows = cells(summary)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption(summary)}\n"
