"""From records to numbers with intervals, and from numbers to tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gensearch.core.ledger import Cost
from gensearch.core.limits import CONTROLS
from gensearch.evaluate.bootstrap import LEVEL, RESAMPLES, Interval, interval, mean_of_tags
from gensearch.evaluate.plan import Plan
from verifiers.detect.summary import Judged
from verifiers.detect.summary import summarise as sum_up

GUIDE = "guide"  # among the scores: what the searches themselves wanted
Record = dict[str, Any]
Summary = dict[str, Any]


def summarise(plan: Plan, judge: str, records: Sequence[Record], resamples: int = RESAMPLES) -> Summary:
    """Everything a report needs as plain data, from the (prompt, seed) pairs on which all methods are finished.

    Raises ValueError if there is no such pair.
    """
    names = [method.name for method in plan.methods]
    by_job = {(r["method"], r["prompt"], r["seed"]): r for r in records}
    pairs = sorted({(p, s) for _, p, s in by_job if all((name, p, s) in by_job for name in names)})
    if not pairs:
        raise ValueError("no prompt is finished with all methods yet; run the same command again to go on")
    rows = {name: [by_job[name, p, s] for p, s in pairs] for name in names}
    scores = {judge: verdict} | {name: partial(opinion, name) for name in plan.holdout if name != judge}
    scores[GUIDE] = partial(guided, guides(plan))
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
            for name in names
        },
    }


def verdict(record: Record) -> float:
    """The judge's score of the winner; a picture that cannot be judged is wrong."""
    return record["judge"] or 0.0


def opinion(holdout: str, record: Record) -> float:
    """A hold-out's score of the winner, NaN where it has none."""
    value = record["holdout"][holdout]
    return float("nan") if value is None else value


def guides(plan: Plan) -> frozenset[str]:
    """Methods whose score is that of the baseline's guide: what they searched for can be compared."""
    by_name = {method.name: method for method in plan.methods}
    wanted = by_name[plan.reference].verifier
    return frozenset(
        name for name, m in by_name.items() if m.verifier == wanted and not m.select and m.search not in CONTROLS
    )


def guided(same: frozenset[str], record: Record) -> float:
    """The score of the winner by the judge that guided the search, NaN where that is not the baseline's."""
    value = record["score"] if record["method"] in same else None
    return float("nan") if value is None else value


def account(rows: Sequence[Record]) -> dict[str, Any]:
    """What a method is, its shares of correct images and prompts, and what it spent on all pairs together."""
    shares = sum_up(Judged(row["tag"], str(row["prompt"]), verdict(row) == 1) for row in rows)
    spent = {column: sum(row["spent"][column] for row in rows) for column in rows[0]["spent"]}
    padding = {column: sum(row["padding"][column] for row in rows) for column in rows[0]["padding"]}
    return {
        "oracle": any(row["oracle"] for row in rows),
        "images": shares.images,
        "prompts": shares.prompts,
        "spent": spent,
        "padding": padding,
        "nats": total([row.get("nats") for row in rows]),
        "unscored": sum(row["unscored"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }


def total(values: Sequence[float | None]) -> float | None:
    """The sum, or None if it is not known of all."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def compare(
    mine: Sequence[Record], base: Sequence[Record], value: Callable[[Record], float], resamples: int
) -> dict[str, Any]:
    """One score of one method: its tags, their mean, and the gain over the baseline with its interval.

    Seeds are averaged within each prompt first; pairs that one side could not score are left out of the gain. Where
    nothing is left there are no tags, and None in place of numbers.
    """
    known = per_prompt(mine, [value(row) for row in mine])
    tags, overall = mean_of_tags(*known) if len(known[0]) else ({}, None)
    both = per_prompt(mine, [value(a) - value(b) for a, b in zip(mine, base, strict=True)])
    gain = interval(*both, resamples=resamples) if len(both[0]) else Interval(*[float("nan")] * 3)
    return {"tags": tags, "overall": overall, "gain": {k: v if v == v else None for k, v in gain._asdict().items()}}


def per_prompt(rows: Sequence[Record], values: Sequence[float]) -> tuple[np.ndarray, list[str]]:
    """Mean and tag of each prompt, over its seeds that have a value; prompts without any are left out."""
    by_prompt: dict[tuple[str, int], list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        if value == value:
            by_prompt.setdefault((row["tag"], row["prompt"]), []).append(value)
    return np.array([np.mean(v) for v in by_prompt.values()]), [tag for tag, _ in by_prompt]


# --- text


def cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table: one row per method."""
    judge, *others = next(iter(summary["methods"].values()))["scores"]
    called = {name: f"{summary['guide']} (guide)" if name == GUIDE else f"{name} (hold-out)" for name in others}
    tags = list(next(iter(summary["methods"].values()))["scores"][judge]["tags"])
    header = ["method", *tags, "overall", "gain", *called.values()]
    header += ["nats", "work", "scored", "seconds"]
    rows = []
    for name, method in summary["methods"].items():
        scores, base = method["scores"], name == summary["baseline"]
        row = [f"{name} (oracle)" if method["oracle"] else name]
        row += [f"{scores[judge]['tags'][tag]:.2f}" for tag in tags] + [f"{scores[judge]['overall']:.3f}"]
        row.append("baseline" if base else limits(scores[judge]["gain"]))
        row += [reported(scores[name], base) for name in others]
        spent = Cost(**method["spent"])
        paid = (method["nats"], spent.work, spent.scored)
        row += ["-" if of_all is None else f"{of_all / summary['pairs']:.1f}" for of_all in paid]
        rows.append([*row, f"{method['seconds'] / summary['pairs']:.2f}"])
    return header, rows


def reported(score: dict[str, Any], base: bool) -> str:
    """The mean and gain of a hold-out or guide; a dash where it could score nothing."""
    if score["overall"] is None:
        return "-"
    mean = f"{score['overall']:.3f}"
    return mean if base or score["gain"]["mean"] is None else f"{mean}, {limits(score['gain'])}"


def limits(gain: dict[str, float | None]) -> str:
    """A gain with its interval; without one where a tag has too few prompts."""
    if gain["low"] is None:
        return f"{gain['mean']:+.3f}"
    return f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"


def caption(summary: Summary) -> str:
    """What the numbers are."""
    text = (
        f"{summary['prompts']} prompts, {summary['pairs']} pairs of prompt and seed, judged by {summary['judge']}. "
        f"Overall is the unweighted mean of the tags; gain is over {summary['baseline']}, with a paired "
        f"{summary['level']:.0%} bootstrap interval over prompts ({summary['resamples']} resamples within tags). "
        "Costs are per picture: nats say how far samples move from the model's law, work counts passes, a backward one "
        "as two."
    )
    if any(method["oracle"] for method in summary["methods"].values()):
        text += " An oracle searched with the judge itself: a ceiling, not evidence."
    return text


def markdown(summary: Summary) -> str:
    """The table in Markdown, with a caption."""
    header, rows = cells(summary)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption(summary)}\n"
