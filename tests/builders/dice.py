"""A world with known odds: pictures of twelve uniform numbers, prompts that ask for a high first one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gensearch.core.types import State
from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.plan import Plan
from gensearch.evaluate.runner import run_plan
from gensearch.search.noise.best_of_n import best_of_n
from verifiers.combine import Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

LOADED: list[str] = []  # every model and verifier that was asked for
ODDS = {"easy": 0.4, "hard": 0.2}  # chance of one plain sample


def lines(per_tag: int) -> list[dict[str, Any]]:
    return [{"tag": tag, "prompt": f"{tag} {i}"} for tag in ODDS for i in range(per_tag)]


class Dice:
    """noise -> its normal distribution function; one more, useless, network step for each of `steps`."""

    noise_shape = (3, 2, 2)
    nfe_per_step = 2
    batch_size = 4
    stochastic = False
    verbs: frozenset[str] = frozenset()

    def __init__(self, source: str, steps: int = 1) -> None:
        self.name, self.num_steps = source, steps

    def start(self, prompts: Sequence[str], noise: Tensor) -> State:
        step = torch.ones(len(prompts), dtype=torch.long)
        return State(tuple(prompts), step, self.num_steps, noise, torch.special.ndtr(noise), {})

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        return replace(state, step=state.step + 1)

    def render(self, state: State) -> Tensor:
        return state.clean

    def fingerprint(self) -> dict[str, Any]:
        return {"steps": self.num_steps}


class Number:
    """The number at one place of the picture, as a score."""

    differentiable = False

    def __init__(self, name: str, channel: int) -> None:
        self.name, self.channel = name, channel

    def __call__(self, media: Tensor, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        return Scores(media[:, self.channel, 0, 0].clone())


class Judge:
    name = "dice/judge"
    differentiable = False

    def __call__(self, media: Tensor, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        wanted = torch.tensor([1 - ODDS[prompt.split()[0]] for prompt in prompts])
        return Scores((media[:, 0, 0, 0] > wanted).float())


class Nothing:
    """Scores only what it is told: NaN everywhere."""

    name = "nothing"
    differentiable = False

    def __call__(self, media: Tensor, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        return Scores(torch.full((len(prompts),), torch.nan))


def model(source: str, **options: Any) -> Dice:
    LOADED.append(source)
    return Dice(source, **options)


def verifier(name: str) -> Any:
    LOADED.append(name)
    makers = {
        "first": lambda: Number("first", 0),
        "second": lambda: Number("second", 1),
        "1*second": lambda: Number("second", 1),
        "judge": Judge,
        "random": lambda: RandomScore(5),
        "noise": lambda: RandomScore(77, name="noise"),
        "nothing": Nothing,
        "sum": lambda: WeightedSum(Term(Number("first", 0)), Term(Number("second", 1))),
        "blend": lambda: WeightedSum(Term(Number("first", 0)), Term(Judge(), 0.1)),
    }
    return makers[name]()


def search(name: str) -> Any:
    return {"best_of_n": best_of_n}[name]


DICE = Benchmark("dice", lines, Judge, frozenset({"dice/judge"}), model, verifier, search)


def plan(**changes: Any) -> Plan:
    methods: list[dict[str, Any]] = [
        {"name": "base", "verifier": "first", "compute": 1},
        {"name": "best4", "verifier": "first", "compute": 4},
        {"name": "best6", "verifier": "first", "knobs": {"n": 6}, "options": {"steps": 3}},
    ]
    for method in methods:
        method["model"] = "dice"
    return Plan.model_validate({"prompts": 3, "seeds": 2, "holdout": ["second"], "methods": methods, **changes})


def main(folder: str, records: str, workers: str) -> None:
    """Evaluate in a process that kills itself, mid-way, after so many records."""
    left = int(records)
    for _ in run_plan(plan(), DICE, Path(folder), workers=int(workers)):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
