"""The numbers of a report: the summary of an evaluation, with p-values, roles and costs of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gensearch.core.ledger import Cost
from gensearch.core.limits import CONTROLS
from gensearch.evaluate.bootstrap import RESAMPLES
from gensearch.evaluate.plan import Method
from gensearch.evaluate.report.merge import Merged
from gensearch.evaluate.significance import holm, sign_flip
from gensearch.evaluate.table import GUIDE, Record, Summary, finished, measures, per_prompt, summarise
from verifiers.names import leaf_names

LEVEL = 0.05  # of tests


class Line(NamedTuple):
    """One method of a report.

    Attributes:
        name: Of the method.
        role: "baseline", "control", "oracle" or "".
        overall: Mean over tags of the judge's verdict.
        gain: Its difference to the baseline: mean, low, high; None where unknown.
        p: P-value of the difference, corrected for all that the report shows; None for the baseline.
        costs: Means of a picture: `nfe`, `scored`, `seconds`, `dollars`.
    """

    name: str
    role: str
    overall: float
    gain: dict[str, float | None]
    p: float | None
    costs: dict[str, float]


class Analysis(NamedTuple):
    """All numbers of a report.

    Attributes:
        merged: The evaluations.
        summary: As `gensearch.evaluate.table.summarise` returns it.
        rows: The records of each method, in the same order, on the pairs that count.
        lines: One for each method.
        p: (method, score) -> p-value, for the judge and each hold-out.
        corrected: The same, corrected for their number.
    """

    merged: Merged
    summary: Summary
    rows: dict[str, list[Record]]
    lines: list[Line]
    p: dict[tuple[str, str], float]
    corrected: dict[tuple[str, str], float]


def analyse(merged: Merged, resamples: int = RESAMPLES) -> Analysis:
    """Work out what a report shows.

    Args:
        merged: One or more evaluations.
        resamples: Of bootstrap intervals and sign flips, 1 or more.

    Raises:
        ValueError: No prompt and seed is finished with all methods.
    """
    plan = merged.plan
    try:
        rows = finished(plan, merged.records)
    except ValueError:
        raise ValueError(
            "no prompt is finished with all methods under the same seed; compare runs of the same prompts and --seed, "
            "or finish them"
        ) from None
    summary = summarise(plan, merged.judge, merged.records, resamples)
    p = {
        (name, score): tested(rows[name], rows[plan.reference], value, resamples)
        for score, value in measures(plan, merged.judge).items()
        for name in rows
        if score != GUIDE and name != plan.reference
    }
    p = {key: value for key, value in p.items() if value == value}
    corrected = holm(p)
    lines = []
    for method in plan.methods:
        found = summary["methods"][method.name]
        score = found["scores"][merged.judge]
        role = role_of(method, method.name == plan.reference, found["oracle"])
        costs = costs_of(found["spent"], found["seconds"], summary["pairs"])
        lines.append(
            Line(method.name, role, score["overall"], score["gain"], corrected.get((method.name, merged.judge)), costs)
        )
    return Analysis(merged, summary, rows, lines, p, corrected)


def tested(mine: Sequence[Record], base: Sequence[Record], value: Any, flips: int) -> float:
    """The p-value of one score's difference; NaN where no prompt has it on both sides."""
    differences, tags = per_prompt(mine, [value(a) - value(b) for a, b in zip(mine, base, strict=True)])
    return sign_flip(differences, tags, flips=flips) if len(differences) else float("nan")


def role_of(method: Method, baseline: bool, oracle: bool) -> str:
    """What a method is in the comparison; a search that ignores scores, or is guided by random ones, is a control."""
    if baseline:
        return "baseline"
    blind = method.search in CONTROLS or leaf_names(method.select or method.verifier) == {"random"}
    return "control" if blind else "oracle" if oracle else ""


def costs_of(spent: dict[str, int], seconds: float, pairs: int) -> dict[str, float]:
    """Means of a picture; a backward pass counts as two NFE, as everywhere."""
    cost = Cost(**spent)
    total = {"nfe": cost.work, "scored": cost.scored, "seconds": seconds, "dollars": cost.microdollars / 1e6}
    return {name: value / pairs for name, value in total.items()}


def warnings(found: Analysis) -> list[str]:
    """What speaks against reading the table at face value, a sentence each.

    Args:
        found: The numbers of the report.
    """
    said = list(found.merged.notes)
    lines = found.lines
    for line in lines:
        if line.role == "control" and excludes_zero(line.gain):
            mean, low, high = (line.gain[name] for name in ("mean", "low", "high"))
            kept = "also" if line.p is not None and line.p <= LEVEL else "not"
            said.append(
                f"The control {line.name} differs from {found.summary['baseline']} by {mean:+.3f} [{low:+.3f}, "
                f"{high:+.3f}], {kept} after correction: gains of this size can be chance. Use more prompts or seeds."
            )
    if len(lines) > 1 and not any(line.role == "control" for line in lines):
        said.append("No control was run; add a method with search:unguided, and one with verifier:random.")
    if oracles := [line.name for line in lines if line.role == "oracle"]:
        said.append(f"Guided by the exact judge itself, so an upper bound and no evidence: {', '.join(oracles)}.")
    return said


def excludes_zero(gain: dict[str, float | None]) -> bool:
    """Whether an interval is known and does not contain 0."""
    low, high = gain["low"], gain["high"]
    return low is not None and high is not None and not low <= 0 <= high
