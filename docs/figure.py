"""Draw docs/base_vs_searched.png from an evaluation: python docs/figure.py runs/table [--out FILE].

Left, pairs of the base picture and the best of 16 for prompts of every tag; right, the exact judge's overall score
against samples drawn, for the CLIP guide and for the oracle. Expects the methods of the preset `shapes_turbo`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image

from gensearch.evaluate.runner import records

CURVES = {
    "guided by shapes/clip": ("base", "best4", "best16", "best64"),
    "oracle": ("base", "oracle4", "oracle16", "oracle64"),
}


def pairs(folder: Path, count: int) -> list[tuple[str, Path, Path]]:
    """(prompt, base picture, best-of-16 picture): of each tag first where the search changed the verdict."""
    found = {(r["prompt"], r["method"]): r for r in records(folder) if r["seed"] == 0}
    base = [r for (_, method), r in found.items() if method == "base"]
    chosen: list[tuple[str, Path, Path]] = []
    for tag in dict.fromkeys(r["tag"] for r in base):
        of_tag = [(r, found[r["prompt"], "best16"]) for r in base if r["tag"] == tag]
        of_tag.sort(key=lambda pair: pair[0]["judge"] - pair[1]["judge"])
        chosen += [(a["text"], folder / a["picture"], folder / b["picture"]) for a, b in of_tag[:count]]
    return chosen


def tile(path: Path) -> np.ndarray:
    """A picture, enlarged to [256, 256, 3]."""
    return np.asarray(Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.NEAREST))


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/base_vs_searched.png"))
    args = parser.parse_args()
    summary = json.loads((args.folder / "summary.json").read_text())
    figure = plt.figure(figsize=(13, 4.4), dpi=110)
    left, right = figure.subfigures(1, 2, width_ratios=(2.2, 1))
    for axes, (prompt, base, best) in zip(left.subplots(3, 4).flat, pairs(args.folder, 2), strict=True):
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
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
