"""The files of a comparison: HTML, CSV, Markdown and LaTeX, and the replay of candidates as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gensearch.evaluate.bootstrap import RESAMPLES
from gensearch.evaluate.offline import as_json
from gensearch.evaluate.report.analyse import Analysis, analyse, warnings
from gensearch.evaluate.report.curves import replayed
from gensearch.evaluate.report.merge import merge
from gensearch.evaluate.report.page import page
from gensearch.evaluate.report.tables import csv_text, latex, markdown
from gensearch.files.atomic import write_atomic


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    baseline: str = "",
    policies: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> tuple[Analysis, list[str]]:
    """Compare evaluations, write the files into a folder, and return the numbers and the warnings.

    Args:
        folders: Of one evaluation or more.
        out: Where compare.html, .csv, .md and .tex go, and replay.json if candidates were stored.
        baseline: What differences are to; by default the baseline of the first run.
        policies: Ways to select that are replayed beside the usual ones.
        resamples: Of bootstrap intervals and sign flips, 1 or more.

    Raises:
        ValueError: A folder is no evaluation, or runs have nothing in common.
    """
    found = analyse(merge(folders, baseline), resamples)
    remarks, replays = warnings(found), replayed(found, policies)
    texts = {
        "compare.html": page(found, remarks, replays, folders),
        "compare.csv": csv_text(found),
        "compare.md": markdown(found, remarks),
        "compare.tex": latex(found),
    }
    if replays:
        curves = {one.method: {policy: as_json(curve) for policy, curve in one.judged.items()} for one in replays}
        texts["replay.json"] = json.dumps(curves, indent=1)
    for name, text in texts.items():
        write_atomic(out / name, text.encode(errors="replace"))  # a folder's name may be no text
    return found, remarks
