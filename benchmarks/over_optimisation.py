"""What a search loses by optimising an imperfect verifier too hard, and what guards keep of it.

    python benchmarks/over_optimisation.py --pools runs/pools --guide shapes/clip --holdout shapes/clip-holdout

Best-of-N for N = 1, 2, 4 ... from stored pools of plain samples, unbiased for every N: the mean over prompts of the
guide's and the hold-outs' scores (in standard deviations within a prompt) and of the exact judge's verdict. Then the
guards: selection by the score that is corrected for the winner's curse, by the hold-outs alone, by mean rank over guide
and hold-outs, and best-of-N of the guide that stops once a hold-out falls. A hold-out that selects is one no more; the
exact judge tells what each guard is worth. Pools are made once (about 15 ms a sample on a core) and shared by guides,
whose scores are kept beside them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from gensearch import registry
from gensearch.core.best_of import best_of
from gensearch.core.perturb import KINDS, perturbed
from gensearch.evaluate.agreement import ranks
from gensearch.evaluate.bootstrap import interval
from gensearch.evaluate.passport import numbers
from gensearch.evaluate.pool import Pool, pools, world_of
from gensearch.files.atomic import write_atomic
from verifiers.types import Verifier

DRAWS = 200  # random searches of each prompt and size, for guards that are no fixed order of a pool


@torch.no_grad()
def scored(verifier: Verifier, pool: Pool, changed: bool = False) -> np.ndarray:
    """Return the scores of a pool, or their means over the small changes."""
    media = [perturbed(pool.media, kind) for kind in KINDS] if changed else [pool.media]
    return np.mean([numbers(verifier(each, pool.prompts).total) for each in media], axis=0)


def kept(folder: Path, name: str, verifier: Callable[[], Verifier], given: list[Pool], changed: bool) -> np.ndarray:
    """Return scores [prompts, samples], from the file beside the pools if it has all of them."""
    what = "+".join([quote(name, safe=""), *(["changed"] if changed else [])])
    path = folder / f"scores-{what}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    need = [pool for pool in given if len(known.get(pool.prompt, ())) < len(pool.pixels)]
    judge = verifier() if need else None
    for place, pool in enumerate(need):
        assert judge is not None
        known[pool.prompt] = [None if np.isnan(s) else s for s in scored(judge, pool, changed)]
        print(f"{what}: {place + 1} of {len(need)}", end="\r", flush=True)
    if need:
        write_atomic(path, json.dumps(known).encode())
    rows = [known[pool.prompt][: len(pool.pixels)] for pool in given]
    return np.array([[np.nan if s is None else s for s in row] for row in rows])


def standard(scores: np.ndarray) -> np.ndarray:
    """Return scores in standard deviations within each prompt, from its mean."""
    spread = np.nanstd(scores, axis=1, keepdims=True)
    return (scores - np.nanmean(scores, axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)


def stopped(guide: np.ndarray, holdout: np.ndarray, exact: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """Return the mean verdict of best-of-N that keeps its earlier winner where the mean hold-out would fall."""
    found = []
    for _ in range(DRAWS):
        best, *others = rng.choice(len(guide), n, replace=False)
        for sample in others:
            if guide[sample] > guide[best] and holdout[sample] >= holdout[best]:
                best = sample
        found.append(exact[best])
    return float(np.mean(found))


def elected(scores: list[np.ndarray], exact: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """Return the mean verdict of best-of-N by mean rank among the samples of each search."""
    found = []
    for _ in range(DRAWS):
        drawn = rng.choice(len(exact), n, replace=False)
        found.append(exact[drawn[np.argmax(np.mean([ranks(each[drawn]) for each in scores], axis=0))]])
    return float(np.mean(found))


def curve(values: Callable[[int, int], float], tags: list[str], sizes: list[int]) -> dict[str, dict[str, float]]:
    """Return mean and interval over prompts for each N; `values` is called with the prompt's place and N."""
    return {str(n): interval([values(p, n) for p in range(len(tags))], tags)._asdict() for n in sizes}


def table(curves: dict[str, dict[str, dict[str, float]]], sizes: list[int]) -> str:
    """Return the curves as Markdown, a line for each."""
    rows = [[name, *(f"{means[str(n)]['mean']:.3f}" for n in sizes)] for name, means in curves.items()]
    head = [["N", *map(str, sizes)], ["---", *["---:"] * len(sizes)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def main() -> None:
    """Make what is missing of the pools and scores, and print the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes/turbo")
    parser.add_argument("--guide", default="shapes/clip")
    parser.add_argument("--holdout", action="append", help="may be repeated (default: shapes/clip-holdout)")
    parser.add_argument("--prompts", type=int, default=8, help="per tag, at most")
    parser.add_argument("--samples", type=int, default=256, help="of each prompt; the largest N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pools", type=Path, required=True, help="folder of pools and scores, shared by guides")
    parser.add_argument("--out", type=Path, help="JSON of all curves")
    args = parser.parse_args()
    model = registry.load_model(args.model)
    world = world_of(model)
    given = []
    for pool in pools(model, world.lines(args.prompts), args.samples, world=world, folder=args.pools, seed=args.seed):
        given.append(pool)
        print(f"pools: {len(given)}", end="\r", flush=True)
    found = measure(args.pools, given, args.guide, args.holdout or ["shapes/clip-holdout"], args.seed)
    sizes = [int(n) for n in found["exact judge"]]
    print(f"guide {args.guide}, {len(given)} prompts of {args.model}\n\n{table(found, sizes)}")
    if args.out:
        write_atomic(args.out, json.dumps({"guide": args.guide, "curves": found}, indent=1).encode())


def measure(
    folder: Path, given: list[Pool], guide: str, holdouts: list[str], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return all curves by name."""
    score = lambda name, changed=False: kept(folder, name, partial(registry.verifier, name), given, changed)  # noqa: E731
    mine, again, others = score(guide), score(guide, True), {name: score(name) for name in holdouts}
    exact, tags = np.stack([numbers(pool.exact) for pool in given]), [pool.tag for pool in given]
    sizes = [2**k for k in range(exact.shape[1].bit_length()) if 2**k <= exact.shape[1]]
    held_out = np.mean([standard(each) for each in others.values()], axis=0)
    rng = np.random.default_rng(seed)

    def best(by: np.ndarray, of: np.ndarray) -> dict[str, dict[str, float]]:
        return curve(lambda p, n: best_of(by[p], of[p], n), tags, sizes)

    return {
        f"guide {guide}, sd": best(mine, standard(mine)),
        f"guide {guide} after small changes, sd": best(mine, standard(again)),
        **{f"hold-out {name}, sd": best(mine, standard(each)) for name, each in others.items()},
        "exact judge": best(mine, exact),
        "exact judge, select by the corrected score": best(again, exact),
        "exact judge, select by the hold-outs": best(held_out, exact),
        "exact judge, rank vote of guide and hold-outs": curve(
            lambda p, n: elected([mine[p], *(each[p] for each in others.values())], exact[p], n, rng), tags, sizes
        ),
        "exact judge, stop where the hold-outs fall": curve(
            lambda p, n: stopped(mine[p], held_out[p], exact[p], n, rng), tags, sizes
        ),
        "exact judge, ceiling": best(exact, exact),
    }


if __name__ == "__main__":
    main()
