"""Which share of a search's gain each method keeps, from the records of an evaluation.

    gensearch evaluate shapes --config hypernoise --out runs/hypernoise --workers 2
    python benchmarks/kept_gain.py runs/hypernoise --of best50

For the guide's score, the hold-outs and the exact judge: (method - base) / (search - base), means over prompts, with a
95 % bootstrap interval that draws the same prompts for both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gensearch.evaluate.journal import records


def table(folder: Path) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
    """Methods, and for every judge and method the mean score of each prompt over the seeds that all finished."""
    found = {(r["method"], r["prompt"], r["seed"]): r for r in records(folder)}
    methods = list(dict.fromkeys(method for method, _, _ in found))
    pairs = sorted({(p, s) for _, p, s in found if all((m, p, s) in found for m in methods)})
    prompts = sorted({p for p, _ in pairs})
    judges = ["guide", *next(iter(found.values()))["holdout"], "exact"]

    def score(record: dict[str, Any], judge: str) -> float:
        value = {"guide": record["score"], "exact": record["judge"]}.get(judge, record["holdout"].get(judge))
        return float("nan") if value is None else float(value)

    means = {
        judge: {
            method: np.array(
                [np.nanmean([score(found[method, p, s], judge) for q, s in pairs if q == p]) for p in prompts]
            )
            for method in methods
        }
        for judge in judges
    }
    return methods, means


def kept(mine: np.ndarray, base: np.ndarray, top: np.ndarray, draws: int = 4000) -> dict[str, float]:
    """The share of the gain and its interval."""
    rows = np.random.default_rng(0).integers(len(base), size=(draws, len(base)))
    shares = (mine - base)[rows].mean(1) / (top - base)[rows].mean(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {"share": float((mine - base).mean() / (top - base).mean()), "low": float(low), "high": float(high)}


def main() -> None:
    """Print the shares as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", default="best50", help="the search whose gain is the whole")
    parser.add_argument("--base", default="base")
    args = parser.parse_args()
    methods, means = table(args.folder)
    scores = {
        m: found["scores"] for m, found in json.loads((args.folder / "summary.json").read_text())["methods"].items()
    }
    others = {method for method in methods if scores[method]["guide"]["overall"] is None}  # guided by something else
    shares = {
        method: {
            judge: kept(of[method], of[args.base], of[args.of])
            for judge, of in means.items()
            if judge != "guide" or method not in others
        }
        for method in methods
        if method != args.base
    }
    print(json.dumps(shares, indent=1))


if __name__ == "__main__":
    main()
