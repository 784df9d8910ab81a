"""Memory across prompts: winners of past searches warm-start new searches, and are distilled into hypernetworks."""

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

from gensearch.core.noise import derive, nearby, prompt_of, randn, remake
from gensearch.core.result import Result
from gensearch.core.types import Model, Noise, Recipe
from gensearch.files.atomic import append_line, owned, read_records
from hypernoise.form import lookable
from hypernoise.manifest import base_hashes
from hypernoise.prompts import refuse_benchmarks

JOURNAL = "winners.jsonl"
OWN = ("model", "verifier", "noise_shape", "base_hashes")  # what all winners of one memory have in common
FIELDS = frozenset({*OWN, "prompt", "recipe", "score", "base", "embedding"})


class Winner(NamedTuple):
    """The winner of one search.

    Attributes:
        prompt: of the search.
        recipe: how to remake its noise.
        score: by the verifier of the memory.
        base: score of the plain sample that the search began with.
        embedding: unit text embedding of the prompt, fp32 [d].
    """

    prompt: str
    recipe: Recipe
    score: float
    base: float
    embedding: Tensor


class Memory:
    """A folder with winners of searches by one model and one verifier, as an append-only journal.

    Args:
        folder: where the journal is, or will be.
        model: the generator.
        verifier: name of the verifier that guided the searches.

    Raises:
        ValueError: for a damaged journal, and for one of another model, noise shape, weights or verifier.
    """

    def __init__(self, folder: Path, model: Model, verifier: str) -> None:
        self.folder, self.model, self.verifier = Path(folder), model, verifier
        values = (model.name, verifier, list(model.noise_shape), base_hashes(model))
        self.about = dict(zip(OWN, values, strict=True))
        lines = read_records(self.folder / JOURNAL, FIELDS, "winner")
        for line in lines:
            self.refuse_others(line)
        self.winners = [read(line) for line in lines]

    def refuse_others(self, line: Mapping[str, Any]) -> None:
        """Refuse a winner of another model, noise shape, weights or verifier.

        Args:
            line: of the journal.

        Raises:
            ValueError: if it does not fit the model and verifier of this memory.
        """
        differ = [name for name in OWN if line[name] != self.about[name]]
        if {"model", "verifier"} & set(differ):
            raise ValueError(
                f"{self.folder} remembers {line['model']} with verifier {line['verifier']}, not {self.model.name} with "
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
        """Remember the winner of a search.

        Args:
            prompt: of the search.
            result: of the search.

        Returns:
            As `remember`.

        Raises:
            ValueError: as `remember`.
        """
        return self.remember(prompt, result.best.recipe, result.best.score, result.base.score)

    def remember(self, prompt: str, recipe: Sequence[Sequence[Any]], score: float, base: float) -> bool:
        """Remember a winner, unless it is known already or does not score above the plain sample.

        One that was generated from a rewritten prompt is not remembered: its noise won under that prompt.

        Args:
            prompt: of the search.
            recipe: how to remake the noise of the winner.
            score: of the winner.
            base: score of the plain sample.

        Returns:
            Whether it was added.

        Raises:
            ValueError: for a prompt of a benchmark, which could not measure what is trained on it.
        """
        refuse_benchmarks([prompt], "this search")
        moves = tuple(tuple(move) for move in recipe)
        known = any((winner.prompt, winner.recipe) == (prompt, moves) for winner in self.winners)
        if known or not score > base or prompt_of(moves, prompt) != prompt:
            return False
        vector = embed(self.model, [prompt])[0].numpy().astype("<f4")
        found = {"prompt": prompt, "recipe": moves, "score": score, "base": base}
        line = {**self.about, **found, "embedding": base64.b64encode(vector.tobytes()).decode()}
        with owned(self.folder):
            append_line(self.folder / JOURNAL, line)
        self.winners.append(read(line))
        return True

    def nearest(self, prompt: str, count: int) -> list[Winner]:
        """Return the winners with the most similar prompts, most similar first, then by score.

        Args:
            prompt: any text.
            count: most winners to return.
        """
        if not self.winners:
            return []
        cosines = torch.stack([winner.embedding for winner in self.winners]) @ embed(self.model, [prompt])[0]
        order = sorted(range(len(self.winners)), key=lambda i: (-round(float(cosines[i]), 6), -self.winners[i].score))
        return [self.winners[i] for i in order[:count]]


def verifier_of(folder: Path) -> str:
    """Return the name of the verifier of a memory; empty if it holds no winner.

    Args:
        folder: of the memory.

    Raises:
        ValueError: for a damaged journal.
    """
    lines = read_records(folder / JOURNAL, FIELDS, "winner")
    return str(lines[0]["verifier"]) if lines else ""


def read(line: Mapping[str, Any]) -> Winner:
    """Return a winner from a line of the journal.

    Args:
        line: of the journal.
    """
    vector = np.frombuffer(base64.b64decode(line["embedding"]), "<f4").astype(np.float32)
    recipe = tuple(tuple(move) for move in line["recipe"])
    return Winner(line["prompt"], recipe, line["score"], line["base"], torch.from_numpy(vector))


def embed(model: Model, prompts: Sequence[str]) -> Tensor:
    """Return unit text embeddings [b, d]: features of the generator, averaged over tokens, minus the empty prompt's.

    Args:
        model: the generator.
        prompts: b prompts.
    """
    text = lookable(model).conditions([*prompts, ""])[0].float().cpu().mean(1)
    return normalize(text[:-1] - text[-1], dim=1)


@dataclass(frozen=True)
class WarmStart:
    """A proposal from memory: noise near winners of similar prompts for half of all seeds, plain noise for the others.

    The first seed of a search always gets plain noise, so that the result is never worse than the plain sample.

    Attributes:
        memory: of the generator.
        cosine: of the angle between the noise of a winner and the proposed one, in [-1, 1].
        neighbours: winners of most similar prompts among which the seed chooses, at least 1.
        root: the first seed of the search.
    """

    memory: Memory
    cosine: float = 0.9
    neighbours: int = 8
    root: int | None = None

    def rooted(self, root: int) -> WarmStart:
        """Return the same proposal for one search.

        Args:
            root: the first seed of the search.
        """
        return replace(self, root=root)

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Return noise [b, *noise_shape]; a row depends on its own prompt and seed, the root and the memory only.

        Args:
            model: the generator.
            prompts: b prompts.
            seeds: b seeds.
        """
        noise = randn(seeds, model.noise_shape)
        remembered = {prompt: self.memory.nearest(prompt, self.neighbours) for prompt in dict.fromkeys(prompts)}
        for row, seed in enumerate(seeds):
            known = remembered[prompts[row]]
            if known and seed != self.root and derive("warm", seed) % 2:
                winner = known[derive("winner", seed) % len(known)]
                pivot = remake(winner.recipe, model.noise_shape)
                noise[row : row + 1] = nearby(pivot, noise[row : row + 1], self.cosine)
        return noise
