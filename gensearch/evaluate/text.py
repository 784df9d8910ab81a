"""The summary of an evaluation as a table with a caption, for terminals and Markdown."""

from __future__ import annotations

from typing import Any

from gensearch.core.ledger import Cost
from gensearch.evaluate.table import GUIDE, PAID, Summary
from gensearch.runs.format import charged


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
