"""The share of a search's gain that each method keeps, from the records of an evaluation.

    gensearch evaluate shapes --config hypernoise --out runs/hypernoise --workers 2
    python benchmarks/kept_gain.py runs/hypernoise --of best50

For the guide, the hold-outs and the exact judge: (method - base) / (search - base), means over prompts, with a 95 %
bootstrap interval that resamples the same prompts for both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gensearch.evaluate.journal import Record, records


def table(folder: Path) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
    """Return the methods, and for every verifier and method the mean score of each prompt over all finished seeds."""
    found = {(r["method"], r["prompt"], r["seed"]): r for r in records(folder)}
    methods = list(dict.fromkeys(method for method, _, _ in found))
    pairs = sorted({(p, s) for _, p, s in found if all((m, p, s) in found for m in methods)})
    prompts = sorted({p for p, _ in pairs})
    verifiers = ["guide", *next(iter(found.values()))["holdout"], "exact"]

    def score(record: Record, verifier: str) -> float:
        value = {"guide": record["score"], "exact": record["judge"]}.get(verifier, record["holdout"].get(verifier))
        return float("nan") if value is None else float(value)

    means = {
        verifier: {
            method: np.array(
                [np.nanmean([score(found[method, p, s], verifier) for q, s in pairs if q == p]) for p in prompts]
            )
            for method in methods
        }
        for verifier in verifiers
    }
    return methods, means


def kept(mine: np.ndarray, base: np.ndarray, top: np.ndarray, draws: int = 4000) -> dict[str, float]:
    """Return the share of the gain and its interval."""
    rows = np.random.default_rng(0).integers(len(base), size=(draws, len(base)))
    shares = (mine - base)[rows].mean(1) / (top - base)[rows].mean(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {"share": float((mine - base).mean() / (top - base).mean()), "low": float(low), "high": float(high)}


def main() -> None:
    """Print the shares as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", default="best50", help="the search that the gain is a share of")
    parser.add_argument("--base", default="base")
    args = parser.parse_args()
    methods, means = table(args.folder)
    scores = {
        m: found["scores"] for m, found in json.loads((args.folder / "summary.json").read_text())["methods"].items()
    }
    others = {method for method in methods if scores[method]["guide"]["overall"] is None}  # guided by something else
    shares = {
        method: {
            verifier: kept(of[method], of[args.base], of[args.of])
            for verifier, of in means.items()
            if verifier != "guide" or method not in others
        }
        for method in methods
        if method != args.base
    }
    print(json.dumps(shares, indent=1))


if __name__ == "__main__":
    main()
