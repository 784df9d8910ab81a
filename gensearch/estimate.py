"""What `gensearch generate --dry-run` prints: the plan, and its cost from a rehearsal without networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import typer

from gensearch.core.ledger import Cost
from gensearch.core.noise import gaussian
from gensearch.core.price import fee, price
from gensearch.core.types import Model, Noise, Proposal, Rows, State
from gensearch.core.verbs import Transition
from gensearch.models.chunks.base import Desk, Film
from gensearch.runs.folder import RunFolder
from gensearch.runs.format import read_json
from verifiers.combine import with_leaves
from verifiers.types import Media, Scores, Verifier

if TYPE_CHECKING:
    from gensearch.core.ledger import Ledger
    from gensearch.pipeline import SearchPipeline


class Hollow:
    """A model's outside without its networks: same steps, prices and verbs, tiny samples."""

    noise_shape = (3, 2, 2)

    def __init__(self, model: Model) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """One step taken."""
        return State(tuple(prompts), torch.ones(len(prompts), dtype=torch.long), self.num_steps, noise, noise, {})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """One step more."""
        return replace(state, step=state.step + 1)

    def rewind(self, state: State, step: torch.Tensor, noise: Noise) -> State:
        """Back to an earlier step."""
        return replace(state, step=step)

    def transition(self, state: State) -> Transition:
        """Any Gaussian will do."""
        return Transition(state.x, torch.ones_like(state.x))

    def render(self, state: State) -> Media:
        """Pictures of four pixels."""
        return state.clean.sigmoid()


class HollowClips(Hollow):
    """The outside of a model of chunks: clips of four pixels, and every chunk and reading booked."""

    book: Any = staticmethod(lambda spent, filled: None)

    def booked(self, book: Any) -> HollowClips:
        """The same outside, telling `book` what the networks would have done."""
        other = HollowClips(self.model)
        other.book = book
        return other

    def due(self, state: State) -> Cost:
        """A chunk for each row, and a reading for each clip that was not read yet."""
        own, *later = self.step_costs
        reading = Cost(*(a - b for a, b in zip(later[0], own, strict=True))) if later else Cost()
        unread = {id(desk) for desk in state.extra["desk"] if desk.memory is None}
        return own.times(len(state)).plus(reading.times(len(unread)))

    def rest(self, state: State) -> State:
        """Nothing was read."""
        return replace(state, extra={"desk": self.desks(len(state))})

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """The first chunk."""
        self.book(self.step_costs[0].times(len(prompts)), Cost())
        return replace(super().start(prompts, noise), extra={"desk": self.desks(len(prompts))})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """One chunk more; what went on from was read."""
        self.book(self.due(state), Cost())
        for desk in state.extra["desk"]:
            desk.memory = True
        return replace(super().advance(state, noise), extra={"desk": self.desks(len(state))})

    def render(self, state: State) -> Media:
        """Clips of four pixels."""
        length = sum(self.frames[: int(state.step[0])])
        return super().render(state)[:, None].expand(-1, length, -1, -1, -1)

    @staticmethod
    def desks(count: int) -> Rows:
        """Places at which clips were not read yet."""
        return Rows(Desk(Film()) for _ in range(count))


class Coin:
    """A single judge's outside: any scores will do, as long as they differ."""

    def __init__(self, judge: Verifier) -> None:
        self.name = judge.name
        self.differentiable = judge.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The mean of each sample."""
        return Scores(media.flatten(1).mean(1))


class Idle:
    """A proposal's outside: plain noise at its price."""

    def __init__(self, propose: Proposal) -> None:
        self.cost = fee(propose)

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Noise of four pixels."""
        return gaussian(model, prompts, seeds)


def rehearse(pipe: SearchPipeline, prompt: str, seed: int) -> Ledger:
    """The account of the same search on a hollow model: exact wherever the cost does not depend on the scores."""
    from gensearch.pipeline import SearchPipeline

    select = None if pipe.panel.select is pipe.panel.guide else with_leaves(pipe.panel.select, Coin)
    guide = with_leaves(pipe.panel.guide, Coin)  # a sum pays for each of its judges
    knobs: Any = {name: Idle(value) if name == "propose" else value for name, value in pipe.knobs.items()}
    outside = HollowClips if "chunks" in pipe.model.verbs else Hollow
    hollow = SearchPipeline(outside(pipe.model), guide, pipe.search, compute=pipe.compute, select=select, **knobs)
    (last,) = deque(hollow.stream(prompt, seed), maxlen=1)
    return last.ledger


def show_plan(pipe: SearchPipeline, folder: RunFolder) -> None:
    """Print what would run, what it would cost and where it would go; nothing is made."""
    config = folder.config
    unit, ledger = price(pipe.model), rehearse(pipe, config.prompt, config.seed)
    spent = ledger.spent
    knobs = "".join(f" {name}={value}" for name, value in config.knobs.items())
    judges = [config.verifier, *([f"{config.select} (selects)"] if config.select else [])]
    judges += [f"{name} (hold-out)" for name in config.holdout]
    typer.echo(f"prompt:     {config.prompt}")
    typer.echo(f"model:      {config.model}, {pipe.model.num_steps} steps, {unit.nfe} nfe for one ordinary sample")
    typer.echo(f"adapter:    {adapter(pipe.model)}")
    typer.echo(f"search:     {config.search}{knobs}, seed {config.seed}")
    if config.propose:
        typer.echo(f"noise from: {config.propose}")
    typer.echo(f"verifiers:  {', '.join(judges)}")
    more = "".join(f", {getattr(spent, name)} {name}" for name in ("backward", "proposed") if getattr(spent, name))
    typer.echo(f"cost:       {spent.nfe} nfe, {spent.decoded} decoded, {spent.scored} scored{more}")
    if ledger.limit:
        typer.echo(f"limit:      {', '.join(f'{value} {name}' for name, value in ledger.limit.items())}")
    pace = measured(folder)
    typer.echo(f"time:       about {pace * spent.nfe:.1f} s" if pace else "time:       not measured yet")
    state = "finished already" if folder.done else "to be resumed" if folder.rounds else "new"
    typer.echo(f"folder:     {folder.path} ({state})")


def adapter(model: Model) -> str:
    """The class that runs a model, what else than plain sampling it can do, and what it had to change."""
    notes = "".join(f"; {note}" for note in getattr(model, "notes", ()))
    return f"{type(model).__name__}, verbs: {', '.join(sorted(model.verbs)) or 'none'}{notes}"


def measured(folder: RunFolder) -> float | None:
    """Seconds per network pass in finished runs beside this one, same model and verifier; None without any."""
    seconds, nfe = 0.0, 0
    for done in folder.path.parent.glob("*/DONE"):
        try:
            result, config = read_json(done.parent / "result.json"), read_json(done.parent / "config.json")["config"]
            if all(config[name] == getattr(folder.config, name) for name in ("model", "options", "verifier")):
                seconds += result["ledger"]["seconds"]
                nfe += result["ledger"]["spent"]["nfe"]
        except (KeyError, TypeError, ValueError):
            continue  # another tool's folder says nothing about ours
    return seconds / nfe if nfe else None
