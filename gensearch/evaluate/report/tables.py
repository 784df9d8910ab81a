"""The numbers of a report as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from gensearch.evaluate.report.analyse import LEVEL, Analysis
from gensearch.evaluate.table import GUIDE
from gensearch.evaluate.text import limits, reported

COLUMNS = ["method", "role", "model", "search", "verifier", "select", "score", "tag", "mean"]
COLUMNS += ["difference", "low", "high", "p", "p_holm", "prompts", "pairs", "nfe", "scored", "seconds", "dollars"]
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
LATEX |= {mark: f"\\{mark}" for mark in "&%$#_{}"}


def main_table(found: Analysis) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of methods: score, difference, p-value, hold-outs and costs.

    Args:
        found: The numbers of the report.
    """
    summary, judge = found.summary, found.merged.judge
    others = [name for name in next(iter(summary["methods"].values()))["scores"] if name not in (judge, GUIDE)]
    paid = any(line.costs["dollars"] for line in found.lines)
    header = ["#", "method", "overall", f"difference to {summary['baseline']}", "p (Holm)"]
    header += [f"{name} (hold-out)" for name in others] + ["NFE", "scored", "seconds"] + ["dollars"] * paid
    rows = []
    for number, line in enumerate(found.lines, 1):
        base = line.role == "baseline"
        row = [str(number), f"{line.name} ({line.role})" if line.role else line.name, f"{line.overall:.3f}"]
        row += ["" if base else limits(line.gain), chance(line.p)]
        for name in others:
            text = reported(summary["methods"][line.name]["scores"][name], base)
            p = found.corrected.get((line.name, name))
            row.append(text if p is None else f"{text}, p {chance(p)}")
        row += [f"{line.costs['nfe']:.1f}", f"{line.costs['scored']:.1f}", f"{line.costs['seconds']:.2f}"]
        rows.append(row + [f"{line.costs['dollars']:.4f}"] * paid)
    return header, rows


def tag_table(found: Analysis) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the exact judge's means by tag.

    Args:
        found: The numbers of the report.
    """
    scores = {line.name: found.summary["methods"][line.name]["scores"][found.merged.judge] for line in found.lines}
    tags = list(next(iter(scores.values()))["tags"])
    rows = [
        [str(number), line.name, *(f"{scores[line.name]['tags'][tag]:.2f}" for tag in tags), f"{line.overall:.3f}"]
        for number, line in enumerate(found.lines, 1)
    ]
    return ["#", "method", *tags, "overall"], rows


def chance(p: float | None) -> str:
    """A p-value as text."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def caption(found: Analysis) -> str:
    """What the table of methods shows and how it was worked out.

    Args:
        found: The numbers of the report.
    """
    summary = found.summary
    return (
        f"{summary['prompts']} prompts, {summary['pairs']} pairs of prompt and seed, judged by {found.merged.judge}. "
        f"Overall is the unweighted mean of the tags. Differences are paired, with {summary['level']:.0%} bootstrap "
        f"intervals over prompts within tags ({summary['resamples']} resamples). P-values are from sign flips of the "
        f"prompts' differences, corrected by Holm's method for the {len(found.corrected)} comparisons shown; "
        f"{LEVEL:g} or less is a finding. Costs are means per picture: NFE (network function evaluations, where a "
        "backward pass counts as two), verifier calls, seconds."
    )


def markdown(found: Analysis, remarks: Sequence[str]) -> str:
    """The tables as Markdown, with caption and warnings.

    Args:
        found: The numbers of the report.
        remarks: Warnings, a sentence each.
    """
    parts = [pipes(*main_table(found)), caption(found), *(f"- {said}" for said in remarks), pipes(*tag_table(found))]
    return "\n\n".join(parts) + "\n"


def pipes(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---", "---"] + ["---:"] * (len(header) - 2), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def latex(found: Analysis) -> str:
    """The table of methods as a LaTeX tabular that needs no package.

    Args:
        found: The numbers of the report.
    """
    header, rows = main_table(found)
    body = [" & ".join(map(escaped, line)) + r" \\" for line in (header, *rows)]
    columns = "ll" + "r" * (len(header) - 2)
    rule = r"\hline"
    lines = [f"% {caption(found)}", rf"\begin{{tabular}}{{{columns}}}", rule, body[0], rule, *body[1:], rule]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(mark, mark) for mark in text)


def csv_text(found: Analysis) -> str:
    """All numbers as CSV, a line for each method, score and tag; empty cells are unknown.

    Args:
        found: The numbers of the report.
    """
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(found))
    return file.getvalue()


def records(found: Analysis) -> Iterator[dict[str, Any]]:
    """The lines of the CSV."""
    methods = {method.name: method for method in found.merged.plan.methods}
    for line in found.lines:
        method = methods[line.name]
        about: dict[str, Any] = {"method": line.name, "role": line.role, "model": method.model}
        about |= {"search": method.search, "verifier": method.verifier, "select": method.select, **line.costs}
        for score, value in found.summary["methods"][line.name]["scores"].items():
            counts = {"score": score, "prompts": found.summary["prompts"], "pairs": found.summary["pairs"]}
            gain = {"difference": value["gain"]["mean"], "low": value["gain"]["low"], "high": value["gain"]["high"]}
            known = {"p": found.p.get((line.name, score)), "p_holm": found.corrected.get((line.name, score))}
            yield {**about, **counts, **gain, **known, "tag": "overall", "mean": value["overall"]}
            yield from ({**about, **counts, "tag": tag, "mean": mean} for tag, mean in value["tags"].items())
