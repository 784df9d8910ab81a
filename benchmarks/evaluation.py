"""Seconds of an evaluation against its bare network passes, and against a loop over prompts.

python benchmarks/evaluation.py               # 300 pairs of prompt and seed, best of 8
python benchmarks/evaluation.py --prompts 60  # a quick run

The bare passes are those of the generator, the decoder, the guide and the judge on all samples, in batches of the
largest size, without a search, a ledger or a file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gensearch import registry
from gensearch.core.noise import derive, randn
from gensearch.core.sampling import generate
from gensearch.engine.run import run
from gensearch.evaluate.benchmarks.shapes import SHAPES
from gensearch.evaluate.plan import make_plan
from gensearch.evaluate.runner import run_plan
from gensearch.files.atomic import write_atomic
from gensearch.files.images import encode, to_pixels
from gensearch.search import SEARCHES

MODEL, GUIDE, SAMPLES = "shapes/turbo", "shapes/critic", 8


def bare(pairs: list[tuple[str, int]]) -> float:
    """Seconds of the network passes alone, in batches of the largest size.

    Args:
        pairs: Prompts and seeds.
    """
    model, guide, judge = registry.load_model(MODEL), registry.verifier(GUIDE), SHAPES.judge()
    began = time.perf_counter()
    with torch.no_grad():
        for first in range(0, len(pairs), 16):
            part = pairs[first : first + 16]
            rows = [(prompt, derive(0, prompt, seed, i)) for prompt, seed in part for i in range(SAMPLES)]
            prompts, seeds = [prompt for prompt, _ in rows], [seed for _, seed in rows]
            noise = randn(seeds, model.noise_shape)
            media = generate(model, prompts, noise, [(("gaussian", seed),) for seed in seeds])
            guide(media, prompts)
            judge(media[: 2 * len(part)], prompts[: 2 * len(part)])  # a winner and a plain sample of each pair
    return time.perf_counter() - began


def loop(pairs: list[tuple[str, int]], folder: Path) -> float:
    """Seconds of a loop over prompts: search, judge, write the picture.

    Args:
        pairs: Prompts and seeds.
        folder: Where pictures go.
    """
    model, guide, judge = registry.load_model(MODEL), registry.verifier(GUIDE), SHAPES.judge()
    began = time.perf_counter()
    for number, (prompt, seed) in enumerate(pairs):
        found = run(SEARCHES["best_of_n"], model, guide, prompt, n=SAMPLES, seed=derive(0, prompt, seed))
        judge(torch.stack([found.best.media, found.base.media]), [prompt] * 2)
        write_atomic(folder / f"{number}.png", encode(to_pixels(found.best.media)))
    return time.perf_counter() - began


def runner(per_tag: int, seeds: int, folder: Path) -> float:
    """Seconds of the runner from its first trial to its last, models loaded.

    Args:
        per_tag: Prompts per tag.
        seeds: Per prompt.
        folder: Where results go.
    """
    methods = [f"best=model:{MODEL},verifier:{GUIDE},knobs.n:{SAMPLES}"]
    model, guide = registry.load_model(MODEL), registry.verifier(GUIDE)
    known = SHAPES._replace(model=lambda source, **_: model, verifier=lambda name, **_: guide)
    began = time.perf_counter()
    for _ in run_plan(make_plan(None, methods, prompts=per_tag, seeds=seeds), known, folder):
        pass
    return time.perf_counter() - began


def main() -> None:
    """Measure the three in turn and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=300, help="pairs of prompt and seed, about so many")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_evaluation.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    per_tag = next(n for n in range(1, 1000) if 2 * len(SHAPES.lines(n)) >= given.prompts or n > 60)
    pairs = [(line["prompt"], seed) for line in SHAPES.lines(per_tag) for seed in (0, 1)]
    bare(pairs[:16])
    with TemporaryDirectory() as folder:
        seconds = {
            "bare passes": bare(pairs),
            "runner": runner(per_tag, 2, Path(folder) / "runner"),
            "loop": loop(pairs, Path(folder) / "loop"),
            "bare passes again": bare(pairs),
        }
    least = min(seconds["bare passes"], seconds["bare passes again"])
    ratios = {"runner / bare": seconds["runner"] / least, "loop / runner": seconds["loop"] / seconds["runner"]}
    report = {"pairs": len(pairs), "samples": SAMPLES, "seconds": seconds, "ratios": ratios}
    write_atomic(given.out, json.dumps(report, indent=1).encode())
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
