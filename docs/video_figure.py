"""Draw docs/video_search.png from an evaluation: python docs/video_figure.py runs/video [--out FILE].

Left, the base clip and what a tree found for some prompts, six frames of each; right, the exact judge's overall score
against network passes. Expects the methods of the preset `shapes_video`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from gensearch.evaluate.runner import records
from gensearch.files.images import decode

FRAMES = (0, 2, 5, 7, 10, 12)
SHOWN = "tree4"


def strip(path: Path) -> np.ndarray:
    """Some frames of a clip in a row, three times their size, with white between them."""
    frames = decode(path)[0][list(FRAMES)].repeat(3, 1).repeat(3, 2)
    return np.hstack([np.pad(frame, ((0, 0), (0, 6), (0, 0)), constant_values=255) for frame in frames])


def pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """(prompt, base clip, searched clip): of each tag the first prompt where the search changed the verdict."""
    found = {(r["prompt"], r["method"]): r for r in records(folder) if r["seed"] == 0}
    base = [r for (_, method), r in found.items() if method == "base"]
    chosen = []
    for tag in dict.fromkeys(r["tag"] for r in base):
        of_tag = [(r, found[r["prompt"], SHOWN]) for r in base if r["tag"] == tag]
        first = min(of_tag, key=lambda pair: pair[0]["judge"] - pair[1]["judge"])
        chosen.append((first[0]["text"], folder / first[0]["picture"], folder / first[1]["picture"]))
    return chosen


def curve(methods: dict[str, Any], prefix: str, judge: str, count: int) -> tuple[list[float], list[float]]:
    """Passes per clip asked for, and success, of the base and all methods whose name is a prefix and a number."""
    names = [
        "base",
        *(n for n in methods if n.removeprefix(prefix).replace(".", "").isdigit() and n.startswith(prefix)),
    ]
    points = sorted((methods[n]["spent"]["nfe"] / count, methods[n]["scores"][judge]["overall"]) for n in names)
    return [x for x, _ in points], [y for _, y in points]


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/video_search.png"))
    args = parser.parse_args()
    summary = json.loads((args.folder / "summary.json").read_text())
    figure = plt.figure(figsize=(13, 4.6), dpi=110)
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.9, 1))
    shown = pairs(args.folder)
    for axes, (prompt, base, best) in zip(left.subplots(2, 2).flat, shown, strict=True):
        axes.imshow(np.vstack([strip(base), np.full((12, strip(base).shape[1], 3), 255, np.uint8), strip(best)]))
        axes.set_axis_off()
        axes.set_title(fill(prompt, 50), fontsize=8, pad=3)
    left.subplots_adjust(0.01, 0.02, 0.99, 0.88, wspace=0.06, hspace=0.2)
    left.suptitle("above: the seed's plain clip; below: Tree-of-Frames at the price of four, learned judge", fontsize=9)
    axes = right.add_subplot()
    right.subplots_adjust(0.15, 0.13, 0.97, 0.95)
    for prefix, label, style in (
        ("tree", "Tree-of-Frames, learned judge", "C0o-"),
        ("linear", "best of N clips, learned judge", "C1o-"),
        ("oracle_tree", "Tree-of-Frames, exact judge", "C0s--"),
        ("oracle_linear", "best of N clips, exact judge", "C1s--"),
    ):
        axes.plot(*curve(summary["methods"], prefix, summary["judge"], summary["pairs"]), style, label=label, ms=4)
    axes.set_xscale("log")
    ticks = [15, 30, 60, 120, 240]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("network passes per prompt")
    axes.set_ylabel("right by the exact judge")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(args.out)


if __name__ == "__main__":
    main()
