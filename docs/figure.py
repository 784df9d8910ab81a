"""Draw the figures of the README.

    python docs/figure.py runs/table        # docs/base_vs_searched.png, from an evaluation with preset `shapes_turbo`
    python docs/figure.py                   # docs/quality_against_cost.png, from the table in docs/hypernoise.md

The first figure shows pairs of the base image and the best of 16 for prompts of every tag, and the exact judge's
overall score against the number of samples. The second shows that score against NFE, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image

from gensearch.evaluate.runner import records

DOCS = Path(__file__).parent
CURVES = {
    "guided by shapes/clip": ("base", "best4", "best16", "best64"),
    "oracle": ("base", "oracle4", "oracle16", "oracle64"),
}
LINES = {  # of the second figure: label -> methods in the order of their cost, format, factor that keeps bars apart
    "best-of-N": (("base", "best4", "best16", "best50"), "o-", 1.0),
    "hypernetwork, then best-of-N": (("hypernetwork", "hypernetwork_best4", "hypernetwork_best8"), "s-", 1.0),
    "two steps, no search": (("base_2_steps",), "D", 0.93),
    "unguided (control)": (("unguided4",), "x", 0.93),
    "random scores (control)": (("random4",), "^", 1.07),
}


def pairs(folder: Path, count: int) -> list[tuple[str, Path, Path]]:
    """(prompt, base image, best-of-16 image): for each tag, first the prompts that only the search gets right."""
    found = {(r["prompt"], r["method"]): r for r in records(folder) if r["seed"] == 0}
    base = [r for (_, method), r in found.items() if method == "base"]
    chosen: list[tuple[str, Path, Path]] = []
    for tag in dict.fromkeys(r["tag"] for r in base):
        of_tag = [(r, found[r["prompt"], "best16"]) for r in base if r["tag"] == tag]
        of_tag.sort(key=lambda pair: pair[0]["judge"] - pair[1]["judge"])
        chosen += [(a["text"], folder / a["picture"], folder / b["picture"]) for a, b in of_tag[:count]]
    return chosen


def tile(path: Path) -> np.ndarray:
    """An image, enlarged to [256, 256, 3]."""
    return np.asarray(Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.NEAREST))


def base_vs_searched(folder: Path, out: Path) -> None:
    """Draw the first figure."""
    summary = json.loads((folder / "summary.json").read_text())
    figure = plt.figure(figsize=(13, 4.4), dpi=110)
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.2, 1))
    for axes, (prompt, base, best) in zip(left.subplots(3, 4).flat, pairs(folder, 2), strict=True):
        axes.imshow(np.hstack([tile(base), np.full((256, 12, 3), 255, np.uint8), tile(best)]))
        axes.set_axis_off()
        axes.set_title(prompt.removeprefix("a photo of "), fontsize=8, pad=3)
    left.subplots_adjust(0.01, 0.02, 0.99, 0.88, wspace=0.06, hspace=0.2)
    left.suptitle("base | best of 16, guided by shapes/clip", fontsize=9)
    axes = right.add_subplot()
    overall = {n: m["scores"][summary["judge"]]["overall"] for n, m in summary["methods"].items()}
    for label, names in CURVES.items():
        axes.plot((1, 4, 16, 64), [overall[name] for name in names], marker="o", label=label)
    axes.set_xscale("log", base=4)
    axes.set_xticks((1, 4, 16, 64), ("1", "4", "16", "64"))
    axes.set(xlabel="samples drawn", ylabel="GenEval-Shapes overall (exact judge)", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    right.subplots_adjust(0.15, 0.13, 0.97, 0.95)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def table(page: Path) -> dict[str, dict[str, str]]:
    """The tables of an evaluation in a Markdown page, side by side: method -> column -> text."""
    found: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for line in page.read_text().splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        header = row if row[0] == "method" else header
        if line.startswith("|") and len(row) == len(header):
            found.setdefault(row[0], {}).update(zip(header, row, strict=True))
    return found


def quality_against_cost(out: Path) -> None:
    """Draw the second figure: overall scores, and the paired intervals of their gains, set on the baseline's score."""
    methods = table(DOCS / "hypernoise.md")
    base = float(methods["base"]["overall"])
    figure, axes = plt.subplots(figsize=(7.2, 4.0), dpi=110)
    for label, (names, style, aside) in LINES.items():
        cost = [aside * float(methods[name]["work"]) for name in names]
        score = np.array([float(methods[name]["overall"]) for name in names])
        gains = [re.findall(r"[-+][\d.]+", methods[name]["gain"]) or ["0"] * 3 for name in names]
        low, high = (np.array([base + float(gain[side]) for gain in gains]) for side in (1, 2))
        error = [np.maximum(score - low, 0), np.maximum(high - score, 0)]
        axes.errorbar(cost, score, error, fmt=style, capsize=3, label=label)
    axes.axhline(base, color="black", linewidth=1, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks((1, 2, 4, 8, 16, 50), ("1", "2", "4", "8", "16", "50"))
    axes.minorticks_off()
    axes.set(xlabel="cost per image, NFE", ylabel="GenEval-Shapes overall (exact judge)", ylim=(0.2, 0.75))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(out)


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of an evaluation; without it the second figure is drawn")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.folder:
        out = args.out or DOCS / "base_vs_searched.png"
        base_vs_searched(args.folder, out)
    else:
        out = args.out or DOCS / "quality_against_cost.png"
        quality_against_cost(out)
    print(out)


if __name__ == "__main__":
    main()
