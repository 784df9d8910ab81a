"""compare.html: one file that shows a comparison without the network; everything that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from gensearch.evaluate.candidates import GUIDE, JUDGE
from gensearch.evaluate.report.analyse import Analysis, Line
from gensearch.evaluate.report.curves import Replayed, falling, ladders
from gensearch.evaluate.report.gallery import SHOWN, gallery
from gensearch.evaluate.report.plots import Point, lines, scatter
from gensearch.evaluate.report.tables import caption, main_table
from gensearch.evaluate.text import limits
from gensearch.runs import passports
from verifiers.names import leaf_names

COSTS = {
    "nfe": "NFE per picture",
    "scored": "verifier calls per picture",
    "seconds": "seconds per picture",
    "dollars": "dollars per picture",
}
KINDS = {"baseline": "baseline", "": "method", "control": "control", "oracle": "oracle: an upper bound"}
STORE = "No candidates are stored in these runs. Set <code>candidates: true</code> in the plan to keep them."


def page(found: Analysis, remarks: Sequence[str], replays: Sequence[Replayed], folders: Sequence[Path]) -> str:
    """The report as HTML.

    Args:
        found: Its numbers.
        remarks: Warnings, a sentence each.
        replays: Of the methods whose candidates were stored.
        folders: The runs that were read.
    """
    template = Template((files("gensearch") / "evaluate" / "report" / "page.html").read_text(encoding="utf-8"))
    over = [said for one in replays for said in falling(one.guided)]
    return template.substitute(
        title=escape(f"{found.merged.benchmark}: {len(found.lines)} methods compared"),
        lead=lead(found),
        alarms="".join(f"<p class=alarm>{escape(said)}</p>" for said in remarks),
        plots=cost_plots(found),
        methods=methods_table(found),
        caption=escape(caption(found)),
        tags=tags_table(found),
        over="".join(f"<p class=alarm>{escape(said)}</p>" for said in over) + over_plots(found, replays),
        replay="".join(map(replay_table, replays)) or f"<p>{STORE}</p>",
        baseline=escape(found.summary["baseline"]),
        pictures=pictures(found),
        verifiers=verifiers_table(found),
        runs="".join(f"<p><code>{escape(str(folder))}</code></p>" for folder in folders),
    )


def lead(found: Analysis) -> str:
    """The comparison in two sentences."""
    summary = found.summary
    best = max((line for line in found.lines if line.role == ""), key=lambda line: line.overall, default=None)
    first = f"{summary['prompts']} prompts, {summary['pairs']} pairs of prompt and seed, judged by "
    first += f"<b>{escape(found.merged.judge)}</b>."
    if best is None:
        return first
    p = "" if best.p is None else f", p {'< 0.001' if best.p < 0.001 else f'= {best.p:.3f}'} after correction"
    return (
        f"{first} Highest score without the judge's help: <b>{escape(best.name)}</b> with {best.overall:.3f}, "
        f"{escape(limits(best.gain))} against {escape(summary['baseline'])}{escape(p)}."
    )


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], kind: str = "numbers") -> str:
    """An HTML table of escaped cells; each row has a class."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr class='{name}'>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for name, row in rows)
    return f"<div class=wide><table class={kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def cost_plots(found: Analysis) -> str:
    """A plot for each cost that differs between methods."""
    base = next(line for line in found.lines if line.role == "baseline")
    plots = []
    for cost, name in COSTS.items():
        values = [line.costs[cost] for line in found.lines]
        if max(values) > min(values):
            points = [point(number, line, base, cost) for number, line in enumerate(found.lines, 1)]
            plots.append(f"<div>{scatter(points, name, 'overall score')}</div>")
    there = {line.role for line in found.lines}
    legend = "".join(f"<span><i class='dot {kind}'></i>{text}</span>" for kind, text in KINDS.items() if kind in there)
    said = f"Bars are 95 % intervals of the paired difference to {escape(base.name)}. Numbers are those of the table."
    return f"<p class=legend>{legend}</p><div class=plots>{''.join(plots)}</div><p class=soft>{said}</p>"


def point(number: int, line: Line, base: Line, cost: str) -> Point:
    """A method in a plot; its limits are those of the difference, from the baseline's score."""
    low, high = (None if (v := line.gain[side]) is None else base.overall + v for side in ("low", "high"))
    if line is base:
        low = high = None
    title = f"{number} {line.name}: {line.overall:.3f} for {line.costs[cost]:.4g} {COSTS[cost]}"
    return Point(number, line.role, line.costs[cost], line.overall, low, high, title)


def methods_table(found: Analysis) -> str:
    """The table of methods; an interval stands below its mean."""
    header, rows = main_table(found)
    cells = [[broken(escape(cell)) for cell in row] for row in rows]
    for line, row in zip(found.lines, cells, strict=True):
        row[1] = f"{escape(line.name)}<small>{line.role}</small>" if line.role else escape(line.name)
    return table(list(map(escape, header)), [(line.role, row) for line, row in zip(found.lines, cells, strict=True)])


def broken(text: str) -> str:
    """A mean with its interval in two lines."""
    mean, bracket, rest = text.partition(" [")
    return f"{mean}<small>[{rest}</small>" if bracket else text


def tags_table(found: Analysis) -> str:
    """The exact judge's mean for each tag, and below it the difference to the baseline."""
    scores = {line.name: found.summary["methods"][line.name]["scores"][found.merged.judge] for line in found.lines}
    base = scores[found.summary["baseline"]]["tags"]
    counts = {tag: len({r["prompt"] for r in found.rows[found.summary["baseline"]] if r["tag"] == tag}) for tag in base}
    head = ["#", "method", *(f"{escape(tag)}<br>{n} prompts" for tag, n in counts.items()), "overall"]
    rows = []
    for number, line in enumerate(found.lines, 1):
        tags = scores[line.name]["tags"]
        own = line.role == "baseline"
        means = [f"{tags[tag]:.2f}" + ("" if own else f"<small>{tags[tag] - base[tag]:+.2f}</small>") for tag in base]
        rows.append((line.role, [str(number), escape(line.name), *means, f"{line.overall:.3f}"]))
    return table(head, rows) + "<p class=soft>Below each mean: the difference to the baseline, not tested by tag.</p>"


def over_plots(found: Analysis, replays: Sequence[Replayed]) -> str:
    """Guide, hold-outs and judge over the number of samples, from candidates or from methods of several budgets."""
    parts = ""
    for one in replays:
        judged = {f"judge, by {policy}": one.judged[policy] for policy in (GUIDE, JUDGE) if policy in one.judged}
        first = lines(one.guided, "samples n", "score, standard deviations")
        second = lines(judged, "samples n", "share that is right")
        parts += f"<h3>{escape(one.method)}</h3><div class=plots><div>{first}</div><div>{second}</div></div>"
    if parts:
        return (
            "<p>Best-of-n by the guide, from stored candidates, unbiased for every n. A hold-out that stays flat or "
            f"falls while the guide rises shows over-optimisation.</p>{parts}"
        )
    for name, curves in ladders(found).items():
        each = "".join(f"<div>{lines({k: c}, 'budget in samples', k)}</div>" for k, c in curves.items() if len(c) > 1)
        parts += f"<h3>{escape(name)} and smaller budgets</h3><div class=plots>{each}</div>"
    if parts:
        return f"<p>Methods that differ by their budget only. {STORE}</p>{parts}"
    return f"<p>{STORE} Three methods that differ by <code>compute</code> only would show it as well.</p>"


def replay_table(one: Replayed) -> str:
    """The judge's verdict by policy and number of samples."""
    counts = list(next(iter(one.judged.values())))
    rows = []
    for policy, each in one.judged.items():
        cells = [
            broken(f"{p.mean:.3f} [{p.low:.3f}, {p.high:.3f}]" if p.low == p.low else f"{p.mean:.3f}")
            for p in each.values()
        ]
        kind = {"random": "control", JUDGE: "oracle"}.get(policy, "")
        rows.append((kind, ["", escape(policy), *cells]))
    said = (
        f"Share that the exact judge accepts, from {one.trials} stored trials. A hold-out that selects is none any "
        "more; the judge itself is the ceiling, and random the control."
    )
    drawn = table(["", "selects by", *(f"n = {n}" for n in counts)], rows)
    return f"<h3>{escape(one.method)}</h3>{drawn}<p class=soft>{said}</p>"


def pictures(found: Analysis) -> str:
    """Galleries of all methods but the baseline, the first unfolded."""
    base = found.summary["baseline"]
    shown = [line.name for line in found.lines if line.name != base]
    said = f"<p class=soft>At most {SHOWN} of each kind: one of each tag in turn, in the order of the benchmark.</p>"
    return said + "".join(
        gallery(name, base, found.rows[name], found.rows[base], place == 0) for place, name in enumerate(shown)
    )


def verifiers_table(found: Analysis) -> str:
    """The roles of the verifiers, and what their passports say."""
    roles: dict[str, list[str]] = {found.merged.judge: ["metric"]}
    for method in found.merged.plan.methods:
        for role, name in (("guide", method.verifier), ("selector", method.select)):
            for leaf in sorted(leaf_names(name)) if name else ():
                roles.setdefault(leaf, []).append(f"{role} of {method.name}")
    for name in found.merged.plan.holdout:
        roles.setdefault(name, []).append("hold-out")
    rows = []
    for name, roles_of in roles.items():
        checked = "<br>".join(escape(passports.sentence(p)) for p in passports.stored(name))
        missing = (
            "the truth itself" if name == found.merged.judge else "a control" if name == "random" else "not checked"
        )
        rows.append(("", [escape(name), escape(", ".join(roles_of)), checked or missing]))
    return table(["verifier", "role", "passport"], rows, "text")
