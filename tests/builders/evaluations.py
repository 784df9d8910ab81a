"""Folders of evaluations without models: verdicts drawn with known odds, one picture for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gensearch.core.noise import derive
from gensearch.files.images import encode

TAGS = ("easy", "easy", "easy", "hard")  # of the prompts in turn


def write_run(
    folder: Path,
    odds: Mapping[str, float],
    *,
    prompts: int = 12,
    seeds: int = 2,
    benchmark: str = "world",
    methods: Mapping[str, Mapping[str, Any]] = {},  # more of each method's plan
    changed: Mapping[str, Mapping[str, Any]] = {},  # of a method: its identity, or its plan
    only: Callable[[int], bool] = lambda prompt: True,
    turned: bool = False,
    candidates: int = 0,
) -> Path:
    """Write plan, results, summary's judge, pictures and candidates; the first method is the baseline."""
    folder.mkdir(parents=True)
    plan = [
        {"name": name, "compute": 1.0, "verifier": "redness", "search": "best_of_n"}
        | dict(methods.get(name, {}))
        | {k: v for k, v in changed.get(name, {}).items() if k != "identity"}
        for name in odds
    ]
    about = {"benchmark": benchmark, "torch": "2.9", "seeds": seeds, "holdout": ["random"], "methods": plan}
    (folder / "plan.json").write_text(json.dumps(about))
    (folder / "summary.json").write_text(json.dumps({"judge": f"{benchmark}/judge"}))
    lines, stored = [], []
    for name, chance in odds.items():
        made = changed.get(name, {}).get("identity", "made")
        for prompt in filter(only, range(prompts)):
            for seed in range(seeds):
                place = prompts - 1 - prompt if turned else prompt
                rng = np.random.default_rng(derive(name, prompt, seed))
                line = record(rng, name, prompt, seed, chance) | {"prompt": place, "identity": made}
                line["picture"] = f"pictures/{name}/{place:04}-{seed}.png"
                lines.append(line)
                (folder / line["picture"]).parent.mkdir(parents=True, exist_ok=True)
                (folder / line["picture"]).write_bytes(encode(rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)))
                given = [candidate(rng, i, line["judge"] if i == 0 else None, chance) for i in range(candidates)]
                stored.append({"method": name, "prompt": place, "seed": seed, "candidates": given})
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if candidates:
        (folder / "candidates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stored))
    return folder


def record(rng: np.random.Generator, name: str, prompt: int, seed: int, chance: float) -> dict[str, Any]:
    """One line of results.jsonl."""
    judge = float(rng.random() < chance)
    return {
        "method": name,
        "seed": seed,
        "tag": TAGS[prompt % len(TAGS)],
        "text": f"prompt <{prompt}> & more",
        "root": derive(prompt, seed),
        "oracle": False,
        "judge": judge,
        "score": judge + rng.random(),
        "holdout": {"random": rng.random()},
        "spent": {"nfe": 4, "scored": 2, "microdollars": 250 if name == "paid" else 0},
        "padding": {"nfe": 0, "scored": 0},
        "nats": 0.0,
        "unscored": 0,
        "seconds": 0.5,
    }


def candidate(rng: np.random.Generator, place: int, judge: float | None, chance: float) -> dict[str, Any]:
    """One of the candidates of a line of candidates.jsonl; the guide prefers the first."""
    verdict = float(rng.random() < chance) if judge is None else judge
    score, held = rng.random() + (place == 0), {"random": rng.random()}
    return {"id": place, "parents": [], "score": score, "judge": verdict, "holdout": held, "nfe": 1}
