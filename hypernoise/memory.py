"""Memory across prompts: winners of past searches start new ones by day, and teach a hypernetwork by night."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gensearch.files import append_line, owned, read_records
from gensearch.noise import derive, nearby, randn, remake
from gensearch.types import Model, Noise, Recipe, Result
from hypernoise.form import lookable
from hypernoise.prompts import refuse_benchmarks

JOURNAL = "winners.jsonl"
FIELDS = frozenset({"model", "verifier", "prompt", "recipe", "score", "base", "embedding"})


class Winner(NamedTuple):
    """One search that is remembered."""

    prompt: str
    recipe: Recipe
    score: float
    base: float  # of the plain sample that the search began with
    embedding: Tensor  # [d], unit length


class Memory:
    """A folder of winners of one model and verifier: an append-only journal, from which everything else follows."""

    def __init__(self, folder: Path, model: Model, verifier: str) -> None:
        """Read what is remembered; raises ValueError for a damaged journal and for one of another model or verifier."""
        self.folder, self.model, self.verifier = Path(folder), model, verifier
        lines = read_records(self.folder / JOURNAL, FIELDS, "winner")
        for line in lines:
            if (line["model"], line["verifier"]) != (model.name, verifier):
                raise ValueError(
                    f"{self.folder} remembers {line['model']} judged by {line['verifier']}, not {model.name} by "
                    f"{verifier}; take another folder"
                )
        self.winners = [read(line) for line in lines]

    def add(self, prompt: str, result: Result) -> bool:
        """Remember the winner of a search; see `remember`."""
        return self.remember(prompt, result.best.recipe, result.best.score, result.base.score)

    def remember(self, prompt: str, recipe: Sequence[Sequence[Any]], score: float, base: float) -> bool:
        """Keep a winner that beat the plain sample and is not known yet; returns whether it did.

        Raises ValueError for a prompt of a benchmark: what is learned from it could not be measured on it.
        """
        refuse_benchmarks([prompt], "this search")
        moves = tuple(tuple(move) for move in recipe)
        if not score > base or any((w.prompt, w.recipe) == (prompt, moves) for w in self.winners):
            return False
        about = {"model": self.model.name, "verifier": self.verifier, "prompt": prompt, "recipe": moves}
        vector = embed(self.model, [prompt])[0].numpy().astype("<f4")
        line = {**about, "score": score, "base": base, "embedding": base64.b64encode(vector.tobytes()).decode()}
        with owned(self.folder):
            append_line(self.folder / JOURNAL, line)
        self.winners.append(read(line))
        return True

    def nearest(self, prompt: str, count: int) -> list[Winner]:
        """The winners whose prompts are most alike, the most alike first; of equals the one with the higher score."""
        if not self.winners:
            return []
        likeness = torch.stack([winner.embedding for winner in self.winners]) @ embed(self.model, [prompt])[0]
        order = sorted(range(len(self.winners)), key=lambda i: (-round(float(likeness[i]), 6), -self.winners[i].score))
        return [self.winners[i] for i in order[:count]]


def verifier_of(folder: Path) -> str:
    """The name of the verifier whose winners a folder remembers."""
    lines = read_records(folder / JOURNAL, FIELDS, "winner")
    return str(lines[0]["verifier"]) if lines else ""


def read(line: Mapping[str, Any]) -> Winner:
    """A winner from a line of the journal."""
    vector = np.frombuffer(base64.b64decode(line["embedding"]), "<f4").astype(np.float32)
    recipe = tuple(tuple(move) for move in line["recipe"])
    return Winner(line["prompt"], recipe, line["score"], line["base"], torch.from_numpy(vector))


def embed(model: Model, prompts: Sequence[str]) -> Tensor:
    """What the generator's own text encoder makes of prompts, averaged over words, less the empty prompt: [b, d]."""
    text = lookable(model).conditions([*prompts, ""])[0].float().cpu().mean(1)
    return normalize(text[:-1] - text[-1], dim=1)


@dataclass(frozen=True)
class WarmStart:
    """A proposal from memory: every second noise is plain, the others lie near winners of similar prompts.

    The first is always plain, so a search never does worse than its base. `cosine` is that of the angle between a
    winner's noise and the proposed one; which of the `neighbours` most alike winners it is, the seed decides.
    """

    memory: Memory
    cosine: float = 0.9
    neighbours: int = 8

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """[b, *noise_shape]; depends on prompts, seeds and memory only."""
        noise = randn(seeds, model.noise_shape)
        remembered = {prompt: self.memory.nearest(prompt, self.neighbours) for prompt in dict.fromkeys(prompts)}
        for row in range(1, len(seeds), 2):
            if known := remembered[prompts[row]]:
                winner = known[derive("winner", seeds[row]) % len(known)]
                noise[row : row + 1] = nearby(
                    remake(winner.recipe, model.noise_shape), noise[row : row + 1], self.cosine
                )
        return noise
