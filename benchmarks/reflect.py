"""Whether rewriting prompts helps: reflect against searches that leave them alone, at equal cost, by the exact judge.

    python benchmarks/reflect.py --out runs/reflect.jsonl --prompts 16

Prompts are those of GenEval-Shapes with two objects, on shapes/turbo, guided by shapes/critic. A record of each prompt
is kept, and a second call goes on where the first one stopped. Intervals are paired bootstraps over prompts by tag.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gensearch import registry
from gensearch.core.noise import prompt_of
from gensearch.engine.run import run
from gensearch.evaluate.bootstrap import interval, mean_of_tags
from gensearch.files.atomic import append_line, read_records
from gensearch.search import SEARCHES
from gensearch.shapes import world

TAGS = ("two_object", "position", "color_attr")  # prompts that the rule can write in another way


def same(prompt: str, current: str, failed: Sequence[str]) -> str:
    """Rewrite nothing."""
    return current


METHODS: dict[str, dict[str, Any]] = {
    "best_of_n": {"search": "best_of_n"},
    "zero_order": {"search": "zero_order"},
    "reflect": {"search": "reflect"},
    "reflect, prompt as it is": {"search": "reflect", "rewrite": same},
}


def measured(model: Any, guide: Any, prompt: str, compute: int, seed: int) -> dict[str, dict[str, float]]:
    """For each method the judge's and the guide's score of the winner, and how many samples had a rewritten prompt."""
    judge, found = registry.verifier("shapes/judge"), {}
    for name, settings in METHODS.items():
        knobs = {key: value for key, value in settings.items() if key != "search"}
        result = run(SEARCHES[settings["search"]], model, guide, prompt, compute=compute, seed=seed, **knobs)
        assert result.ledger.spent.nfe == compute
        found[name] = {
            "correct": float(judge(result.best.media[None], [prompt]).total),
            "guide": result.best.score,
            "base": float(judge(result.base.media[None], [prompt]).total),
            "rewritten": sum(prompt_of(node.recipe, prompt) != prompt for node in result.lineage),
            "won": prompt_of(result.best.recipe, prompt) != prompt,
        }
    return found


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print the share of correct winners by method, and what reflect gains over each other one."""
    tags, mine = [row["tag"] for row in rows], [row["methods"]["reflect"] for row in rows]
    base, won, rewritten = (np.mean([float(one[key]) for one in mine]) for key in ("base", "won", "rewritten"))
    print(
        f"{len(rows)} prompts; first samples correct: {base:.3f}; of reflect's samples {rewritten:.1f} had a rewritten"
    )
    print(f"prompt, of its winners {won:.2f}")
    for name in METHODS:
        other = [row["methods"][name] for row in rows]
        by_tag, overall = mean_of_tags([one["correct"] for one in other], tags)
        print(f"{name}: {overall:.3f} { ({tag: round(value, 3) for tag, value in by_tag.items()}) }")
        for score in ("correct", "guide"):
            gap = interval([a[score] - b[score] for a, b in zip(mine, other, strict=True)], tags)
            print(f"    {score}: reflect gains {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=16, help="of each tag")
    parser.add_argument("--compute", type=int, default=16)
    parser.add_argument("--only", default="measure", help="`report` prints what is there")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = list(read_records(args.out, {"prompt", "tag", "methods"}, "prompt")) if args.out.exists() else []
    if args.only == "measure":
        torch.set_num_threads(1)
        model, guide = registry.load_model("shapes/turbo"), registry.verifier("shapes/critic")
        lines = [line for line in world.benchmark(args.prompts) if line["tag"] in TAGS]
        order = np.random.default_rng(0).permutation(len(lines))  # a part of it is a fair sample as well
        for place in order:
            prompt = lines[place]["prompt"]
            if prompt not in {row["prompt"] for row in rows}:
                found = measured(model, guide, prompt, args.compute, int(place))
                rows.append({"prompt": prompt, "tag": lines[place]["tag"], "methods": found})
                append_line(args.out, rows[-1])
    report(rows)


if __name__ == "__main__":
    main()
