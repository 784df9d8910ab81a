"""What `gensearch generate --dry-run` prints: the plan, and its cost from a rehearsal without networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import torch
import typer

from gensearch.core.guard import REFERENCE
from gensearch.core.ledger import Cost
from gensearch.core.noise import gaussian
from gensearch.core.price import charges, comparison, election, fee, price
from gensearch.core.types import Model, Noise, Proposal
from gensearch.engine.job import Job
from gensearch.engine.run import start
from gensearch.models.stand_in import stand_in
from gensearch.runs.folder import RunFolder
from gensearch.runs.format import charged, read_json
from verifiers.combine import Panel, with_leaves
from verifiers.types import Media, Scores, Verifier

if TYPE_CHECKING:
    from gensearch.core.ledger import Ledger


class MeanScore:
    """The stand-in for a single verifier: scores that differ between samples, which is all that a cost can ask for."""

    def __init__(self, verifier: Verifier) -> None:
        self.name = verifier.name
        self.differentiable = getattr(verifier, "differentiable", False)
        if hasattr(verifier, "split"):
            self.split = verifier.split
        self.fee = charges(verifier)._asdict()
        self._spent = Cost()

    def bill(self) -> dict[str, int]:
        """The most that remote models could charge since the last call."""
        spent, self._spent = self._spent, Cost()
        return spent._asdict()

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The mean of each sample."""
        self._spent = self._spent.plus(Cost(**self.fee).times(len(media)))
        return Scores(media.flatten(1).mean(1))


class MeanComparer(MeanScore):
    """The stand-in for a comparer of pairs."""

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> torch.Tensor:
        """Whether the mean of the first is higher, [b]."""
        self._spent = self._spent.plus(comparison(self).times(len(media_a)))
        return (media_a.flatten(1).mean(1) > media_b.flatten(1).mean(1)).double()


def verifier_stand_in(verifier: Verifier) -> Verifier:
    """A stand-in for a single verifier, which compares if it does."""
    return MeanComparer(verifier) if hasattr(verifier, "compare") else MeanScore(verifier)


class PlainNoise:
    """The stand-in for a proposal: plain noise at its cost."""

    def __init__(self, propose: Proposal) -> None:
        self.cost = fee(propose)

    def __call__(self, model: Model, prompts: Sequence[str], seeds: Sequence[int]) -> Noise:
        """Standard normal noise in the model's shape."""
        return gaussian(model, prompts, seeds)


def rehearse(job: Job, prompt: str, seed: int) -> Ledger:
    """The account of a job on stand-ins for its model and verifiers, where no network runs.

    It is exact wherever the cost does not depend on the scores.

    Args:
        job: What would run on the prompt, as `gensearch.resolve.for_prompt` gives it.
        prompt: What the picture or clip should show, 1 to 2000 characters.
        seed: Everything random comes from it, 0 to 2^53 - 1.

    Raises:
        ValueError: As `start` does.
        BudgetSpent: The budget cannot finish one sample.
    """
    guide = with_leaves(job.panel.guide, verifier_stand_in)  # a sum pays for each of its terms
    panel = Panel(guide, with_leaves(job.select, verifier_stand_in)) if job.select else Panel(guide)
    propose = gaussian if job.propose is gaussian else PlainNoise(job.propose)
    rounds = start(replace(job, model=stand_in(job.model), panel=panel, propose=propose), prompt, seed)
    (last,) = deque(rounds, maxlen=1)
    return last.ledger


def aside(panel: Panel, first: int) -> Cost:
    """The most that remote hold-outs can cost in one search: of the first samples, the winner and the plain sample.

    Args:
        panel: The verifiers by role.
        first: Finished samples that hold-outs score while a search runs, 0 or more.
    """
    each = [charges(verifier).plus(Cost(scored=1)) for verifier in panel.holdout.values()]
    return reduce(Cost.plus, each, Cost()).times(first + 2)


def show_plan(job: Job, folder: RunFolder) -> None:
    """Print what would run, what it would cost and where it would go; nothing is made.

    Args:
        job: What would run on the prompt of the folder's config.
        folder: Where the run would go.

    Raises:
        ValueError: As `rehearse` does.
        BudgetSpent: The budget cannot finish one sample.
    """
    config, model = folder.config, job.model
    unit, ledger = price(model), rehearse(job, folder.config.prompt, folder.config.seed)
    spent = ledger.spent
    knobs = "".join(f" {name}={value}" for name, value in config.knobs.items())
    verifiers = [config.verifier, *([f"{config.select} (selects)"] if config.select else [])]
    verifiers += [f"{name} (hold-out)" for name in job.panel.holdout]
    typer.echo(f"prompt:     {config.prompt}")
    typer.echo(f"model:      {config.model}, {model.num_steps} steps, {unit.nfe} nfe for one sample")
    typer.echo(f"adapter:    {adapter(model)}")
    typer.echo(f"search:     {config.search}{knobs}, seed {config.seed}")
    if config.propose:
        typer.echo(f"noise from: {config.propose}")
    typer.echo(f"verifiers:  {', '.join(verifiers)}")
    more = "".join(f", {getattr(spent, name)} {name}" for name in ("backward", "proposed") if getattr(spent, name))
    last = election(job.panel.select).scored
    ending = f" (at most {last} of them for the election of the winner)" if last else ""
    typer.echo(f"cost:       {spent.nfe} nfe, {spent.decoded} decoded, {spent.scored} scored{ending}{more}")
    if paid := charged(spent._asdict()):
        typer.echo(f"critics:    at most {paid}, with three tries for each answer")
    if paid := charged(aside(job.panel, REFERENCE + 1 if config.guard else 1)._asdict()):
        typer.echo(f"hold-outs:  at most {paid}, beside the budget")
    if ledger.limit:
        typer.echo(f"limit:      {', '.join(f'{value} {name}' for name, value in ledger.limit.items())}")
    pace = measured(folder)
    typer.echo(f"time:       about {pace * spent.nfe:.1f} s" if pace else "time:       not measured yet")
    state = "finished already" if folder.done else "to be resumed" if folder.rounds else "new"
    typer.echo(f"folder:     {folder.path} ({state})")


def adapter(model: Model) -> str:
    """The class that runs a model, the verbs that it offers beyond plain sampling, and what it had to change."""
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
