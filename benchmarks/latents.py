"""MILR against its controls on shapes/janus at equal numbers of pictures, with four guides, scored by the exact judge.

    python benchmarks/latents.py --out runs/latents

Every search generates K + 1 pictures of each held-out prompt. Each form of MILR has one control, chosen beforehand:
itself at lr=0. As published it moves one image token of this model, whose state depends on the plan alone, so that its
control follows the law of best-of-N with the plan, and the two are pooled.

Searches of one picture at a time run on many prompts in parallel, one chain for each, so that batches are full. The
results for K = 4, 10 and 20 are from one run, since a shorter search is the beginning of a longer one. They are kept in
--out, one line for each search and group of prompts, and an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gensearch import registry
from gensearch.core.noise import derive, randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model, Search
from gensearch.engine.run import stream
from gensearch.evaluate.bootstrap import interval, mean_of_tags
from gensearch.files.atomic import append_line, read_records
from gensearch.search.tokens.chains import Chains
from gensearch.search.tokens.milr import milr
from gensearch.search.tokens.suffix_mcmc import suffix_mcmc
from gensearch.shapes import world
from gensearch.testing.many import Many
from verifiers.types import Media, Verifier
from verifiers.vlm.vqa import VQAScore

STEPS = (4, 10, 20)
SIDE_BY_SIDE = 40
REWARDS = ("critic", "clip", "self", "exact")
PAPER: dict[str, Any] = {
    "strategy": "joint",
    "image_share": 0.02,
    "lr": 0.03,
    "credit": "argmax",
    "baseline": "none",
    "shift": -1.0,
}
CONTROLS = {"milr": ("lr=0",), "milr paper": ("plan", "lr=0 paper"), "milr paper, last": ("plan", "lr=0 paper")}
SIGMA = 0.6  # standard deviation of the noise on states
GOOD = 0.9  # reward at which the published algorithm stops
NO_GUIDE = ("bare", "plan", "lr=0", "lr=0 paper", "latent_noise")  # pictures that no guide changes
Row = dict[str, Any]
Run = Callable[[Sequence[str]], Media]


class Bench:
    """The model with a plan and without, its verifiers, and the scores of every picture."""

    def __init__(self, source: str, iterations: int) -> None:
        self.planned = registry.load_model(source, batch_size=SIDE_BY_SIDE, steps=1)
        self.bare = registry.load_model(source, batch_size=SIDE_BY_SIDE, steps=1, plan="none")
        janus: Any = self.planned
        own = VQAScore(janus.network, janus.pipeline.processor, name="self", question=janus.question, batch_size=1)
        self.verifiers: dict[str, Verifier] = {
            "exact": registry.verifier("shapes/judge"),
            "critic": registry.verifier("shapes/critic"),
            "clip": registry.verifier("shapes/clip"),
            "holdout": registry.verifier("shapes/clip-holdout"),
            "self": own,
        }
        self.iterations = iterations

    @torch.no_grad()
    def scores(self, media: Media, prompts: Sequence[str], reward: str) -> Row:
        """Return the scores of pictures, [prompts, pictures] each.

        By all verifiers if the search has no guide, else by its guide and by those that only report.
        """
        rows = [prompt for prompt in prompts for _ in range(len(media) // len(prompts))]
        used = [name for name in self.verifiers if reward in ("", name) or name in ("exact", "holdout")]
        totals = {name: self.verifiers[name](media, rows).total.view(len(prompts), -1) for name in used}
        return {name: total.double().round(decimals=6).tolist() for name, total in totals.items()}

    def independent(self, model: Model, prompts: Sequence[str]) -> Media:
        """Generate K + 1 pictures of each prompt from independent noises, as best-of-N does."""
        rows = [prompt for prompt in prompts for _ in range(self.iterations + 1)]
        seeds = [derive(0, prompt, place % (self.iterations + 1)) for place, prompt in enumerate(rows)]
        return generate(model, rows, randn(seeds, model.noise_shape), [(("gaussian", seed),) for seed in seeds])

    def walk(self, search: Search, reward: str, prompts: Sequence[str], **knobs: Any) -> Media:
        """Generate K + 1 pictures of each prompt, one after the other by a chain of its own."""
        many: Any = Many(self.planned, prompts)
        guide: Any = Many(self.verifiers[reward], prompts)
        settings = {"iterations": self.iterations, "chains": len(prompts), "seed": derive(1, *prompts), **knobs}
        rounds = [p.round.media for p in stream(search, many, guide, "one prompt each", **settings)]
        return torch.stack(rounds, 1).flatten(0, 1)

    def disturbed(self, prompts: Sequence[str]) -> Media:
        """Generate K + 1 pictures of each prompt, all but the first from states with noise, as `latent_noise` does."""
        many: Any = Many(self.planned, prompts)
        verifier: Any = Many(self.verifiers["exact"], prompts)
        seeds = [derive(1, prompt) for prompt in prompts]
        walk = Chains(many, verifier, "one prompt each", tuple((("gaussian", seed),) for seed in seeds))
        rounds = [walk.begin(randn(seeds, many.noise_shape), {"text": 0.2, "image": 0.02}, lr=0.0).media]
        for k in range(self.iterations):
            fresh = [derive(seed, k) for seed in seeds]
            for side, part in walk.latents.items():
                xi = randn([derive(seed, side) for seed in fresh], part.start.shape[1:])
                part.z = part.disturbed(SIGMA * xi).z
            rounds.append(walk.redraw(randn(fresh, many.noise_shape), ("text", "image"), free=False).media)
        return torch.stack(rounds, 1).flatten(0, 1)


def searches(bench: Bench) -> dict[str, Run]:
    """Return everything that is compared, by name; the guide follows a /."""
    shorter = {"iterations": bench.iterations - 1}  # its baseline takes a round of pictures
    found: dict[str, Run] = {
        "bare": lambda prompts: bench.independent(bench.bare, prompts),
        "plan": lambda prompts: bench.independent(bench.planned, prompts),
        "lr=0": lambda prompts: bench.walk(milr, "clip", prompts, **shorter, lr=0.0),
        "lr=0 paper": lambda prompts: bench.walk(milr, "clip", prompts, **{**PAPER, "lr": 0.0}),
        "latent_noise": bench.disturbed,
    }
    for reward in REWARDS:
        ways: dict[str, tuple[Search, dict[str, Any]]] = {
            "suffix_mcmc": (suffix_mcmc, {}),
            "milr paper": (milr, PAPER),
            "milr": (milr, shorter),
        }
        for name, (search, knobs) in ways.items():
            found[f"{name}/{reward}"] = partial(bench.walk, search, reward, **knobs)
    return found


def missing(lines: Sequence[Row], out: Path, wanted: Sequence[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Yield the searches and groups of prompts without results in --out, one search after the other."""
    done = {(row["search"], row["first"]) for row in records(out)}
    for name in wanted:
        for first in range(0, len(lines), SIDE_BY_SIDE):
            texts = [line["prompt"] for line in lines[first : first + SIDE_BY_SIDE]]
            texts += texts[: SIDE_BY_SIDE - len(texts)]  # groups are full, so that a batch is
            if (name, first) not in done:
                yield name, first, texts


def records(out: Path) -> list[Row]:
    """Return the results so far."""
    path = out / "pictures.jsonl"
    return list(read_records(path, {"search", "first", "exact", "holdout"}, "result")) if path.exists() else []


# --- the pictures that searches return


def returned(row: Row, place: int, reward: str, pictures: int, keep: str) -> int:
    """Return the index of the picture that a search returns: the best by its guide, or as published the last one.

    The published code stops at a good reward and returns that picture.
    """
    rewards = [value if math.isfinite(value) else -math.inf for value in row[reward][place][:pictures]]
    if keep == "best":
        return int(np.argmax(rewards))
    return next((k for k, value in enumerate(rewards) if value > GOOD), len(rewards) - 1)


def longest(rows: Sequence[Row]) -> int:
    """Return the number of pictures of each prompt."""
    return min((len(row["exact"][0]) for row in rows), default=0)


def table(rows: Sequence[Row], lines: Sequence[Row]) -> dict[str, Any]:
    """Return the exact scores of each search at each K with each guide, and the gains of MILR over its own control."""
    tags = [line["tag"] for line in lines]
    groups = -(-len(lines) // SIDE_BY_SIDE)
    by_search = {name: [r for r in rows if r["search"] == name] for name in dict.fromkeys(r["search"] for r in rows)}
    by_search = {name: own for name, own in by_search.items() if len(own) == groups}  # those that are finished

    def verdicts(name: str, reward: str, steps: int, keep: str = "best") -> np.ndarray:
        picked = [
            row["exact"][place][returned(row, place, reward, steps + 1, keep)]
            for row in sorted(by_search[name], key=lambda row: row["first"])
            for place in range(min(SIDE_BY_SIDE, len(lines) - row["first"]))
        ]
        return np.array(picked)

    found: dict[str, Any] = {
        name: mean_of_tags(verdicts(name, "clip", 0), tags)[1] for name in ("bare", "plan") if name in by_search
    }
    for reward in REWARDS:
        for steps in STEPS:
            ways = {name: (name, "best") for name in NO_GUIDE if name in by_search}
            ways |= {n: (f"{n}/{reward}", "best") for n in ("suffix_mcmc", "milr paper", "milr")}
            ways["milr paper, last"] = (f"milr paper/{reward}", "last")
            ways = {shown: way for shown, way in ways.items() if longest(by_search.get(way[0], ())) > steps}
            own = {shown: verdicts(way, reward, steps, keep) for shown, (way, keep) in ways.items()}
            means = {shown: mean_of_tags(values, tags)[1] for shown, values in own.items()}
            gains = {
                shown: interval(own[shown] - np.mean([own[c] for c in controls], 0), tags)._asdict()
                for shown, controls in CONTROLS.items()
                if shown in own and own.keys() >= set(controls)
            }
            found[f"{reward}, K = {steps}"] = {"overall": means, "over its control": gains}
    return found


def main() -> None:
    """Generate missing pictures and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes/janus")
    parser.add_argument("--out", type=Path, default=Path("runs/latents"))
    parser.add_argument("--prompts", type=int, default=48, help="per tag, at most")
    parser.add_argument("--iterations", type=int, default=max(STEPS))
    parser.add_argument("--only", nargs="*", help="searches by name")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="part I of N, for several processes")
    args = parser.parse_args()
    lines = world.benchmark(args.prompts)
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.model, args.iterations)
    ways = searches(bench)
    which, of = args.part
    for name, first, texts in missing(lines, args.out, args.only or list(ways)):
        if first // SIDE_BY_SIDE % of == which:
            scores = bench.scores(ways[name](texts), texts, name.partition("/")[2])
            append_line(args.out / "pictures.jsonl", {"search": name, "first": first, **scores})
    print(json.dumps(table(records(args.out), lines), indent=1))


if __name__ == "__main__":
    main()
