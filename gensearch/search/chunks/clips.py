"""Shared by searches of chunk-autoregressive video models: clips in progress, seeds by path, costs and stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveInt

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import Rng, derive, described, step_noise
from gensearch.core.price import charges, scorings, step_costs
from gensearch.core.sampling import sizes_of
from gensearch.core.types import Model, Proposal, Recipe, Round, State
from verifiers.types import Verifier

Path = tuple[int, ...]  # which child was taken at each depth, from the first chunk on
Schedule = PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)]  # one number, or one by depth and so on
Stages = Annotated[list[str], Field(min_length=3, max_length=3)] | Callable[[str], Sequence[str]]
AS_IT_IS = ["{prompt}"] * 3  # prompts of the verifier for the first chunk, for those between, and for the whole clip


class Clips(NamedTuple):
    """Clips in progress, all of one length, in the order of their paths."""

    state: State
    paths: tuple[Path, ...]
    recipes: tuple[Recipe, ...]
    homes: tuple[int | None, ...]  # the last ancestor that was scored

    @property
    def depth(self) -> int:
        """How many chunks they have."""
        return int(self.state.step[0])

    def at(self, rows: Sequence[int]) -> Clips:
        """Some of them; rows may repeat."""
        recipes, homes = tuple(self.recipes[row] for row in rows), tuple(self.homes[row] for row in rows)
        return Clips(self.state[rows], tuple(self.paths[row] for row in rows), recipes, homes)


class Account(NamedTuple):
    """The costs of a search: a model's chunks and, for every clip that is scored, a decoding and the scores."""

    ledger: Ledger
    steps: Sequence[Cost]
    scoring: Cost

    def chunks(self, count: int, parents: int, depth: int) -> Cost:
        """One more chunk for `count` children of `parents` clips, which are each read once."""
        own = self.steps[0]
        reading = Cost(*(a - b for a, b in zip(self.steps[depth], own, strict=True)))
        return own.times(count).plus(reading.times(min(count, parents)))

    def ending(self, depth: int) -> Cost:
        """What it takes to finish and score one clip that has `depth` chunks; nothing if it is finished."""
        rest = self.steps[depth:]
        return sum_of(rest).plus(self.scoring) if rest else Cost()

    def room(self, wanted: int, parents: int, depth: int, unscored: int = 0) -> int:
        """How many children with one more chunk fit so that one clip can still be finished, at least 1.

        Up to `unscored` of them need no score before the end.
        """
        for count in range(wanted, 1, -1):
            scored = count if count > unscored or depth == len(self.steps) - 1 else 0
            cost = self.chunks(count, parents, depth).plus(self.scoring.times(scored))
            if affords(self.ledger, cost.plus(self.ending(depth + 1))):
                return count
        return 1


def affords(ledger: Ledger, cost: Cost) -> bool:
    """Whether all of a cost fits."""
    return all(getattr(cost, column) <= ledger.left(column) for column in ledger.limit)


def open_account(model: Model, verifier: Verifier, ledger: Ledger) -> Account:
    """The account of a search on a model and a verifier."""
    scoring = Cost(decoded=1, scored=scorings(verifier)).plus(charges(verifier))
    return Account(ledger, step_costs(model), scoring)


def sum_of(costs: Sequence[Cost]) -> Cost:
    """Costs, column by column."""
    return Cost(*(sum(column) for column in zip(*costs, strict=True))) if costs else Cost()


def at_depth(schedule: int | Sequence[int], depth: int) -> int:
    """The entry for a depth; the last one holds for all depths after it."""
    return schedule if isinstance(schedule, int) else schedule[min(depth, len(schedule) - 1)]


def chunk_seed(root: int, path: Path) -> int:
    """The seed of a chunk's noise: a function of its path alone, whatever else was tried and in which order."""
    return derive(root, "path", *path)


def straight(path: Path) -> bool:
    """Whether a path only ever took the first child: then it is a plain sample, with its plain noise."""
    return not any(path[1:])


@torch.no_grad()
def first_chunks(model: Model, prompt: str, rng: Rng, count: int, propose: Proposal) -> Clips:
    """The first chunk of `count` clips; the first one's noise is that of the search's own seed."""
    seeds = rng.seeds(count)
    noise = propose(model, [prompt] * count, seeds)
    paths = tuple((child,) for child in range(count))
    state = model.start([prompt] * count, noise)
    return Clips(state, paths, described(propose, noise, seeds), (None,) * count)


@torch.no_grad()
def next_chunks(model: Model, clips: Clips, children: Sequence[int], root: int, correlation: float = 0.0) -> Clips:
    """One more chunk: so many children of each clip, from noise that is seeded by their paths.

    `correlation` is that with the noise of the chunk before; a plain sample's noise stays its own.
    """
    rows = [row for row, count in enumerate(children) for _ in range(count)]
    paths = tuple((*path, child) for path, count in zip(clips.paths, children, strict=True) for child in range(count))
    depth, more = clips.depth, (correlation,) if correlation else ()
    recipes = tuple(
        clips.recipes[row]
        if straight(path)
        else (*before(clips.recipes[row], depth), ("chunk", depth, chunk_seed(root, path), *more))
        for row, path in zip(rows, paths, strict=True)
    )
    parents = clips.at(rows)
    noise = step_noise(recipes, depth, model.noise_shape) if model.stochastic else None
    return Clips(model.advance(parents.state, noise), paths, recipes, parents.homes)


def before(recipe: Recipe, depth: int) -> Recipe:
    """A recipe without what it says of chunks from some depth on."""
    return tuple(move for move in recipe if not (move[0] == "chunk" and move[1] >= depth))


def written(stages: Stages, prompt: str) -> tuple[str, ...]:
    """The verifier's three prompts: templates with {prompt} filled in, or what a function writes.

    Raises ValueError if there are not three of them.
    """
    if callable(stages):
        texts = tuple(stages(prompt))
    else:
        texts = tuple(template.replace("{prompt}", prompt) for template in stages)
    if len(texts) != 3 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"a prompt has three stages, the first chunk, the middle and the end, not {texts!r}")
    return texts


def stage(depth: int, last: int) -> int:
    """Which of the three stages a clip with `depth` of `last` chunks is in; a clip of one chunk is at its end."""
    return 2 if depth == last else min(depth - 1, 1)


@torch.no_grad()
def scored(
    model: Model, verifier: Verifier, clips: Clips, texts: Sequence[str], first: int
) -> tuple[Round, Clips, list[float]]:
    """A round of clips, scored by the text of their stage, with ids from `first` on; the clips; their scores.

    Unfinished clips are previews.
    """
    media = model.render(clips.state)
    last, depth = model.num_steps, clips.depth
    prompts = [texts[stage(depth, last)]] * len(media)
    scores = verifier(media, prompts, progress=depth / last)
    ids = tuple(range(first, first + len(media)))
    together = sizes_of(clips.state, [1] * len(media))
    round = Round(media, scores, clips.recipes, ids, clips.homes, done=depth == last, sizes=together)
    return round, clips._replace(homes=ids), scores.total.tolist()


def best_rows(totals: Sequence[float], count: int) -> list[int]:
    """The rows of the `count` highest scores in their own order; of equals those with the lowest paths."""
    ranked = sorted(range(len(totals)), key=lambda row: (-totals[row], row))
    return sorted(ranked[:count])
