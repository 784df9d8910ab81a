"""How close cascades and tournaments come to the dear verifier's pick: python benchmarks/finalists.py [--json FILE].

One pool of generated pictures for each benchmark prompt. The cheap verifier scores all of it, the dear one its
finalists. Quality is the dear verifier's score of the winner, on the same pools for every selector: means over prompts,
and the difference from the dear verifier on all pictures, with 95 % bootstrap intervals over prompts. Calls are
scores of the dear verifier, or ordered pairs in a tournament of pairs, for each prompt.

The noisy comparer answers by the exact scores plus a preference for the picture shown first, wrong at a stated rate. It
stands for a vision-language model, whose errors on pairs it imitates and does not predict.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gensearch import registry
from gensearch.core.noise import derive, gaussian
from gensearch.core.sampling import generate
from gensearch.models.load import load
from gensearch.shapes import world
from verifiers.combine import Cascade, Elector, Pool
from verifiers.tournament.elector import Tournament
from verifiers.types import Media, Scores, Verifier

SEED = 7_000_000  # noises of these pools; searches and evaluations start from smaller numbers
COLUMNS = ("calls", "share", "score", "low", "high", "against_dear", "against_dear_low", "against_dear_high")


class Known:
    """Scores of pictures that were all scored before; counts how many are asked for again."""

    differentiable = False

    def __init__(self, name: str, media: Media, scores: Tensor) -> None:
        self.name = name
        self.scores = {picture.numpy().tobytes(): float(score) for picture, score in zip(media, scores, strict=True)}
        self.calls = 0

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Look scores up."""
        self.calls += len(media)
        return Scores(torch.tensor([self.scores[picture.numpy().tobytes()] for picture in media]))


class NoisyPairs:
    """A comparer that knows the scores, errs on a share of the ordered pairs, and leans to the first picture.

    Args:
        known: scores of all pictures.
        error: share of answers that are reversed.
        lean: added to P(first is better) before it is clipped.
        seed: of the errors.
    """

    def __init__(self, known: Known, error: float, lean: float, seed: int) -> None:
        self.known, self.error, self.lean, self.name = known, error, lean, "noisy pairs"
        self.random = np.random.default_rng(seed)
        self.calls = 0

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> Tensor:
        """P(first is better) of each pair."""
        self.calls += len(prompts)
        sign = torch.sign(self.known(media_a, prompts).total - self.known(media_b, prompts).total)
        wrong = torch.from_numpy(self.random.random(len(prompts)) < self.error)
        return (0.5 + 0.4 * torch.where(wrong, -sign, sign) + self.lean).clamp(0, 1)


def pools(count: int, prompts: int) -> list[tuple[str, Media]]:
    """Generate pools of `count` pictures for so many benchmark prompts, spread over its tags."""
    model = load("shapes/turbo")
    lines = world.benchmark()
    chosen = [lines[i] for i in np.linspace(0, len(lines) - 1, prompts).round().astype(int)]
    made = []
    for number, line in enumerate(chosen):
        seeds = range(SEED + number * count, SEED + (number + 1) * count)
        asked = [line["prompt"]] * count
        media = generate(model, asked, gaussian(model, asked, seeds), [(("gaussian", s),) for s in seeds])
        made.append((line["prompt"], media))
    return made


def selectors(dear: Known, keep: int, number: int) -> dict[str, Elector]:
    """The selectors that are compared; those with noise get a seed of the prompt."""

    def pairs() -> NoisyPairs:
        return NoisyPairs(dear, 0.2, 0.1, derive(number, "noisy pairs"))

    return {
        f"cascade, keep {keep // 2}": Cascade(None, dear, keep=keep // 2),
        f"cascade, keep {keep}": Cascade(None, dear, keep=keep),
        f"knockout by scores, keep {keep}": Tournament(None, dear, keep=keep),
        f"knockout of noisy pairs, keep {keep // 2 + 1}": Tournament(None, pairs(), keep=keep // 2 + 1),
        f"swiss of noisy pairs, keep {keep // 2 + 1}": Tournament(None, pairs(), format="swiss", keep=keep // 2 + 1),
        f"round robin of noisy pairs, keep {keep // 2 + 1}": Tournament(
            None, pairs(), format="roundrobin", keep=keep // 2 + 1
        ),
    }


def measure(
    made: Sequence[tuple[str, Media]], cheap: Verifier, dear: Verifier, keep: int
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Return the dear score of each selector's winner, and its calls, for every prompt."""
    scores: dict[str, list[float]] = {}
    calls: dict[str, list[int]] = {}
    for number, (prompt, media) in enumerate(made):
        asked = [prompt] * len(media)
        low, high = cheap(media, asked).total.double(), dear(media, asked).total.double()
        known = Known(dear.name, media, high)
        picks = {"first sample": (0, 0), "cheap verifier": (int(low.argmax()), 0)}
        picks["dear verifier on all"] = (int(high.argmax()), len(media))
        for name, elector in selectors(known, keep, number).items():
            known.calls = 0
            winner = elector.elect(Pool(prompt, list(media), low, {})).winner
            assert winner is not None
            picks[name] = (winner, getattr(elector.final, "calls", 0))
        for name, (winner, spent) in picks.items():
            scores.setdefault(name, []).append(float(high[winner]))
            calls.setdefault(name, []).append(spent)
    return scores, calls


def interval(values: np.ndarray, draws: int = 4000) -> tuple[float, float, float]:
    """Return a mean over prompts and its 95 % bootstrap interval."""
    rows = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[rows].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cheap", default="shapes/clip")
    parser.add_argument("--dear", default="shapes/partial")
    parser.add_argument("--pool", type=int, default=32, help="pictures for each prompt")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--keep", type=int, default=10, help="finalists")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    started = time.perf_counter()
    with torch.no_grad():
        made = pools(args.pool, args.prompts)
        scores, calls = measure(made, registry.verifier(args.cheap), registry.verifier(args.dear), args.keep)
    top = np.array(scores["dear verifier on all"])
    found = {}
    for name, values in scores.items():
        each = float(np.mean(calls[name]))
        row = (each, each / args.pool, *interval(np.array(values)), *interval(np.array(values) - top))
        found[name] = dict(zip(COLUMNS, row, strict=True))
        print(
            f"{name:40} {each:5.1f} calls ({row[1]:4.0%})  score {row[2]:.3f} [{row[3]:.3f}, {row[4]:.3f}]  "
            f"against dear {row[5]:+.3f} [{row[6]:+.3f}, {row[7]:+.3f}]"
        )
    about = {name: value for name, value in vars(args).items() if name != "json"}
    print(f"{time.perf_counter() - started:.0f} s, {about}")
    if args.json:
        args.json.write_text(json.dumps({"about": about, "selectors": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
