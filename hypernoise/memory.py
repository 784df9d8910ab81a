"""Memory across prompts: winners of past searches start new ones by day, and teach a hypernetwork by night."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gensearch.core.noise import derive, nearby, randn, remake
from gensearch.core.result import Result
from gensearch.core.types import Model, Noise, Recipe
from gensearch.files.atomic import append_line, owned, read_records
from hypernoise.form import lookable
from hypernoise.manifest import base_hashes
from hypernoise.prompts import refuse_benchmarks

JOURNAL = "winners.jsonl"
OWN = ("model", "verifier", "noise_shape", "base_hashes")  # what all winners of one memory share
FIELDS = frozenset({*OWN, "prompt", "recipe", "score", "base", "embedding"})


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
        """Read what is remembered.

        Raises ValueError for a damaged journal, and for one of another model, noise shape, weights or verifier.
        """
        self.folder, self.model, self.verifier = Path(folder), model, verifier
        values = (model.name, verifier, list(model.noise_shape), base_hashes(model))
        self.about = dict(zip(OWN, values, strict=True))
        lines = read_records(self.folder / JOURNAL, FIELDS, "winner")
        for line in lines:
            self.refuse_others(line)
        self.winners = [read(line) for line in lines]

    def refuse_others(self, line: Mapping[str, Any]) -> None:
        """Raise ValueError for a winner of another model, noise shape, weights or verifier."""
        differ = [name for name in OWN if line[name] != self.about[name]]
        if {"model", "verifier"} & set(differ):
            raise ValueError(
                f"{self.folder} remembers {line['model']} judged by {line['verifier']}, not {self.model.name} by "
                f"{self.verifier}; take another folder"
            )
        if differ:
            shape = f"noise of {line['noise_shape']}, not {self.about['noise_shape']}"
            what = shape if "noise_shape" in differ else "other weights"
            raise ValueError(
                f"{self.folder} remembers {self.model.name} with {what}; load the generator that its winners were "
                "found with, with the same settings, or take another folder"
            )

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
        vector = embed(self.model, [prompt])[0].numpy().astype("<f4")
        found = {"prompt": prompt, "recipe": moves, "score": score, "base": base}
        line = {**self.about, **found, "embedding": base64.b64encode(vector.tobytes()).decode()}
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
    """A proposal from memory: plain noise for half of all seeds, and noise near winners of similar prompts for others.

    The first seed of a search stays plain, so that it never does worse than its base. `cosine` is that of the angle
    between a winner's noise and the proposed one; which of the `neighbours` most alike winners it is, the seed decides.
    """

    memory: Memory
    cosine: float = 0.9
    neighbours: int = 8
    root: int | None = None  # the first seed of the search

    def rooted(self, root: int) -> WarmStart:
        """The same proposal for a search that begins with a seed."""
        return replace(self, root=root)

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """[b, *noise_shape]; every row depends on its own prompt and seed, on the root and on the memory only."""
        noise = randn(seeds, model.noise_shape)
        remembered = {prompt: self.memory.nearest(prompt, self.neighbours) for prompt in dict.fromkeys(prompts)}
        for row, seed in enumerate(seeds):
            known = remembered[prompts[row]]
            if known and seed != self.root and derive("warm", seed) % 2:
                winner = known[derive("winner", seed) % len(known)]
                pivot = remake(winner.recipe, model.noise_shape)
                noise[row : row + 1] = nearby(pivot, noise[row : row + 1], self.cosine)
        return noise
