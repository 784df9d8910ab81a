"""The share of a search's gain that each method keeps, from the records of an evaluation.

    gensearch evaluate shapes --config hypernoise --out runs/hypernoise --workers 2
    python benchmarks/kept_gain.py runs/hypernoise --of best50

For the guide, the hold-outs and the exact judge: (method - base) / (search - base). Both are unweighted means over
tags, as in the tables, on the pairs that all methods have finished. The 95 % bootstrap interval resamples prompts
within tags, n - 1 of n, the same for numerator and denominator.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gensearch.evaluate.report.merge import merge
from gensearch.evaluate.table import finished, measures, per_prompt


def kept(mine: np.ndarray, top: np.ndarray, tags: Sequence[str], draws: int = 4000) -> dict[str, float]:
    """Return the share of the gain and its interval.

    Args:
        mine: gains of the method over the base, one per prompt.
        top: those of the search.
        tags: one per prompt.
        draws: of the bootstrap.
    """
    rng = np.random.default_rng(0)
    means, resampled = np.zeros(2), np.zeros((2, draws))
    for tag in sorted(set(tags)):
        both = np.stack([mine, top])[:, np.array([t == tag for t in tags])]
        means += both.mean(1)
        count = both.shape[1]
        resampled += both[:, rng.integers(count, size=(draws, max(1, count - 1)))].mean(2)
    low, high = np.quantile(resampled[0] / resampled[1], [0.025, 0.975])
    return {"share": float(means[0] / means[1]), "low": float(low), "high": float(high)}


def shares(folder: Path, base: str, of: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return method -> score -> share of the gain; scores that a method lacks are left out.

    Args:
        folder: of the evaluation.
        base: the method without a search.
        of: the search that the gain is a share of.
    """
    merged = merge([folder], base)
    rows = finished(merged.plan, merged.records)
    found: dict[str, dict[str, dict[str, float]]] = {method: {} for method in rows if method != base}
    for score, value in measures(merged.plan, "exact").items():
        for method in found:
            triples = zip(rows[method], rows[of], rows[base], strict=True)
            gains = [(value(a) - value(c), value(b) - value(c)) for a, b, c in triples]
            known = [both if not np.isnan(both).any() else (float("nan"),) * 2 for both in gains]
            mine, tags = per_prompt(rows[base], [both[0] for both in known])
            top, _ = per_prompt(rows[base], [both[1] for both in known])
            if len(mine):
                found[method][score] = kept(mine, top, tags)
    return found


def main() -> None:
    """Print the shares as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", default="best50", help="the search that the gain is a share of")
    parser.add_argument("--base", default="base")
    args = parser.parse_args()
    print(json.dumps(shares(args.folder, args.base, args.of), indent=1))


if __name__ == "__main__":
    main()
