"""Settings of MILR against their own control on shapes/janus, at equal numbers of pictures: what its default rests on.

    python benchmarks/milr_default.py --out runs/milr_default
    python benchmarks/milr_default.py --held-out --pictures 21 --only "0.1, lr=0.03" "0.1, lr=0" plan

Every setting has one control, chosen beforehand: the same knobs with lr=0. Settings that differ in the learning rate
alone share it. `plan` is best-of-N with the model's own plan: no token is chosen by states. The guide picks the winner
of the first K + 1 pictures, and the exact judge and a hold-out score it. Settings are chosen on training prompts and
confirmed once on held-out ones. Results are kept in --out, and an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gensearch import registry
from gensearch.core.noise import derive
from gensearch.engine.run import stream
from gensearch.evaluate.bootstrap import interval, mean_of_tags
from gensearch.files.atomic import append_line, read_records
from gensearch.search.tokens.milr import milr
from gensearch.shapes import world
from gensearch.testing.many import Many

STEPS = (4, 10, 20)
SEED = 20_000  # of the training prompts


class Setting(NamedTuple):
    """Knobs of milr, how the model takes its plan, and the name of the control."""

    knobs: dict[str, Any]
    control: str = ""
    plan: str = "greedy"


def image(share: float, lr: float, **knobs: Any) -> dict[str, Any]:
    """Return the knobs of a setting that shifts image states alone."""
    return {"strategy": "image", "image_share": share, "lr": lr, **knobs}


TEXT: dict[str, Any] = {"strategy": "joint", "text_share": 0.2, "image_share": 0.25, "samples": 2, "baseline": "loo"}
SETTINGS = {
    "plan": Setting(image(0.0, 0.0)),
    "0.25, lr=0.1": Setting(image(0.25, 0.1), "0.25, lr=0"),
    "0.25, lr=0": Setting(image(0.25, 0.0)),
    "0.1, lr=0.1": Setting(image(0.1, 0.1), "0.1, lr=0"),
    "0.1, lr=0.03": Setting(image(0.1, 0.03), "0.1, lr=0"),
    "0.1, lr=0": Setting(image(0.1, 0.0)),
    "0.25, lr=0.03": Setting(image(0.25, 0.03), "0.25, lr=0"),
    "text and image, loo": Setting({**TEXT, "lr": 0.1}, "text and image, lr=0", "sampled"),
    "text and image, lr=0": Setting({**TEXT, "lr": 0.0}, "", "sampled"),
}


def prompts(held_out: bool, per_tag: int) -> list[dict[str, Any]]:
    """Return so many prompts of each tag: held-out ones, or training ones without any held-out pair.

    Single objects and counts have no pair to hold out, so that the benchmark may contain these training prompts.
    """
    if held_out:
        return world.benchmark(per_tag)
    found: dict[str, dict[str, Any]] = {}
    taken, rng = {line["prompt"] for line in world.benchmark()}, np.random.default_rng(SEED)
    for tag in world.TAGS:
        while sum(line["tag"] == tag for line in found.values()) < per_tag:
            line, _ = world.sample(rng, tag)
            if line["prompt"] not in taken or tag in ("single_object", "counting"):
                found[line["prompt"]] = line
    return list(found.values())


@torch.no_grad()
def pictures(
    setting: Setting, model: Any, verifiers: dict[str, Any], asked: Sequence[str], seed: int, count: int
) -> dict[str, Any]:
    """Generate so many pictures of each prompt, each prompt a chain, and return their scores [prompts, pictures]."""
    guide: Any = Many(verifiers["guide"], asked)
    samples = setting.knobs.get("samples", 1)
    knobs = {"iterations": (count - 1) // samples - 1, "chains": len(asked), "seed": derive(seed, *asked)}
    rounds = [p.round for p in stream(milr, Many(model, asked), guide, "one prompt each", **knobs, **setting.knobs)]
    media = torch.cat([r.media.view(len(asked), -1, *r.media.shape[1:]) for r in rounds], 1)
    rows = [prompt for prompt in asked for _ in range(media.shape[1])]
    totals = {name: v(media.flatten(0, 1), rows).total.view(len(asked), -1) for name, v in verifiers.items()}
    return {name: total.double().round(decimals=6).tolist() for name, total in totals.items()}


def winners(rows: Sequence[dict[str, Any]], steps: int, by: str) -> np.ndarray:
    """Return the score of the guide's winner among the first K + 1 pictures, a mean over seeds for each prompt."""
    found = []
    for row in rows:
        guide = np.array(row["guide"])[:, : steps + 1]
        found.append(np.array(row[by])[np.arange(len(guide)), guide.argmax(1)])
    return np.mean(found, 0)


def table(rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the scores of each setting at each K, and the paired gain over its control with a 95 % interval."""
    tags = [line["tag"] for line in lines]
    found: dict[str, Any] = {}
    own = {name: [r for r in rows if r["setting"] == name] for name in SETTINGS}
    for name, (_, control, _) in SETTINGS.items():
        longest = min((len(r["guide"][0]) for r in own[name]), default=0)
        for steps in [k for k in STEPS if k < longest]:
            entry: dict[str, Any] = {"seeds": len(own[name])}
            for by in ("exact", "holdout", "guide"):
                scores = winners(own[name], steps, by)
                entry[by] = round(mean_of_tags(scores, tags)[1], 4)
                for other in filter(None, dict.fromkeys((control, "plan" if name != "plan" else ""))):
                    seeds = {r["seed"] for r in own[name]} & {r["seed"] for r in own[other]}
                    if seeds:
                        both = [winners([r for r in own[n] if r["seed"] in seeds], steps, by) for n in (name, other)]
                        gain = interval(both[0] - both[1], tags)
                        entry[f"{by} less {other}"] = [round(value, 4) for value in gain]
            every = [np.array(r["guide"])[:, : steps + 1].mean(1) for r in own[name]]
            entry["guide, mean of all pictures"] = round(mean_of_tags(np.mean(every, 0), tags)[1], 4)
            found[f"{name}, K = {steps}"] = entry
    return found


def main() -> None:
    """Generate missing pictures and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/milr_default"))
    parser.add_argument("--held-out", action="store_true", help="confirm instead of choose")
    parser.add_argument("--guide", default="shapes/critic")
    parser.add_argument("--holdout", default="shapes/clip-holdout")
    parser.add_argument("--per-tag", type=int, default=4, help="prompts")
    parser.add_argument("--pictures", type=int, default=11, help="of each prompt: K + 1")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), help="settings by name")
    args = parser.parse_args()
    lines = prompts(args.held_out, args.per_tag)
    asked = [line["prompt"] for line in lines]
    names = {"exact": "shapes/judge", "guide": args.guide, "holdout": args.holdout}
    verifiers = {role: registry.verifier(name) for role, name in names.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / ("held_out.jsonl" if args.held_out else "training.jsonl")
    done = list(read_records(path, {"setting", "seed"}, "result")) if path.exists() else []
    for seed in range(args.seeds):
        for name in args.only:
            if not any((r["setting"], r["seed"]) == (name, seed) for r in done):
                model = registry.load_model("shapes/janus", batch_size=len(asked), steps=1, plan=SETTINGS[name].plan)
                scores = pictures(SETTINGS[name], model, verifiers, asked, seed, args.pictures)
                done.append({"setting": name, "seed": seed, **scores})
                append_line(path, done[-1])
    print(json.dumps(table(done, lines), indent=1))


if __name__ == "__main__":
    main()
