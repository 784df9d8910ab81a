"""`gensearch train hypernoise`: the run, its folder, its metrics and its trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import typer

from gensearch import registry
from gensearch.core.errors import nearest
from gensearch.files.atomic import append_line, owned, read_records, write_atomic
from gensearch.pipeline import device_of
from hypernoise.config import TrainConfig, make_config
from hypernoise.prompts import read_prompts, split
from hypernoise.train import Trainer, Update
from hypernoise.watch import Panel, Watch

if TYPE_CHECKING:
    from accelerate import Accelerator

PANEL = "panel.jsonl"
RESULT, LOGS = "hypernoise", "logs"  # folders of the trained network and of the tracker within that of the run
TRACKERS = ("tensorboard", "wandb", "none")
DEFAULT = "tensorboard"
INSTALL = "`pip install gensearch[tracking]`"
SHOWN = ("step", *Panel._fields, "alive", "skipped")

Line = dict[str, Any]
Show = Callable[[Line], None]


def train(config: str, sets: Sequence[str], out: Path, log: str | None = None) -> None:
    """Train a noise hypernetwork and write it to `out`/hypernoise; the same call resumes an interrupted run.

    Args:
        config: the name of a preset, or the path of a YAML file.
        sets: settings such as "steps=200" or "form.rank=8".
        out: folder of the run.
        log: "tensorboard", "wandb" or "none"; None for tensorboard if it is installed, else none.

    Raises:
        ValueError: for a recipe that cannot be run, and for an unknown tracker.
        ImportError: for a tracker that is not installed.
    """
    from accelerate import Accelerator

    tracker = find_tracker(log)
    recipe = make_config(config, sets)
    learn, watch = split(read_prompts(recipe.prompts), recipe.validation)
    registry.check_licences(recipe.rewards, recipe.allow_noncommercial)
    device = str(recipe.options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
    accelerator = Accelerator(
        log_with=None if tracker == "none" else tracker, project_dir=str(out / LOGS), cpu=device.startswith("cpu")
    )
    if log is None and tracker == "none" and accelerator.is_main_process:
        typer.echo(f"{DEFAULT} is not installed, so metrics go to {PANEL} only; to log them, run {INSTALL}", err=True)
    model = registry.load_model(recipe.model, **placed(recipe.options, accelerator))
    verifier = registry.verifier(
        recipe.rewards, device=device_of(model), allow_noncommercial=recipe.allow_noncommercial
    )
    with owned(out) if accelerator.is_main_process else nullcontext():
        trainer = Trainer(recipe, model, verifier, learn, out, accelerator)
        if accelerator.is_main_process:
            resume_panel(trainer)
        observer = Watch(model, verifier, watch, recipe.watch_seeds, recipe.seed)
        accelerator.init_trackers("hypernoise", flat(recipe))
        follow(trainer, observer)
        if accelerator.is_main_process:
            trainer.result().save_pretrained(out / RESULT)
            typer.echo(f"hypernetwork: {out / RESULT}")
        accelerator.end_training()


def find_tracker(log: str | None) -> str:
    """Return the tracker of a run, or "none".

    Args:
        log: its name; None for the default, which falls back to "none" if it is not installed.

    Raises:
        ValueError: for an unknown tracker.
        ImportError: for a named tracker that is not installed.
    """
    from accelerate.tracking import get_available_trackers

    installed = {"none", *map(str, get_available_trackers())}
    if log is None:
        return DEFAULT if DEFAULT in installed else "none"
    if log not in TRACKERS:
        raise ValueError(f"no tracker is called {log!r}{nearest(log, TRACKERS)}")
    if log not in installed:
        raise ImportError(f"{log} is not installed; run {INSTALL}, or take --log none, which keeps {PANEL} only")
    return log


def placed(options: Mapping[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    """Return the options to load the model with: of several processes, each has its own device.

    Args:
        options: of the recipe.
        accelerator: of this process.
    """
    own = accelerator.num_processes > 1 and accelerator.device.type != "cpu"
    return {**options, **({"device": str(accelerator.device)} if own else {})}


def resume_panel(trainer: Trainer) -> None:
    """Cut the metrics of an interrupted run back to its checkpoint, and continue its clock.

    Args:
        trainer: restored from the checkpoint.

    Raises:
        ValueError: for damaged metrics.
    """
    path = trainer.folder / PANEL
    lines = [line for line in read_records(path, {"step", "seconds"}, "validation") if 0 < line["step"] <= trainer.done]
    if path.exists():
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    if lines:
        trainer.ledger.started -= lines[-1]["seconds"]


def remember(runs: Sequence[Path], folder: Path) -> None:
    """Add the winners of finished runs to a memory, and print the outcome for each.

    Args:
        runs: folders of finished runs, all of one model and one verifier.
        folder: of the memory, made as needed.

    Raises:
        ValueError: for runs of different models or verifiers, and for a damaged run or memory.
    """
    from gensearch.runs.format import read_json, read_provenance
    from hypernoise.memory import Memory

    memory: Memory | None = None
    for run in runs:
        result = read_json(run / "result.json")
        about = read_provenance(json.dumps(result.get("provenance")), str(run / "result.json"))
        config = about.config
        if memory is None:
            memory = Memory(folder, registry.load_model(config.model, **config.options), config.verifier)
        if (config.model, config.verifier) != (memory.model.name, memory.verifier):
            raise ValueError(
                f"{run} is of {config.model} with verifier {config.verifier}; one memory holds one of each"
            )
        score, base = result["best"]["score"], result["base"]["score"]
        kept = memory.remember(config.prompt, about.recipe, score, base)
        typer.echo(f"{run}: {'remembered' if kept else 'known already, or no better than its base'}")


def follow(trainer: Trainer, observer: Watch) -> None:
    """Do the updates, and validate the averaged network at intervals, in the main process only.

    Args:
        trainer: does the updates.
        observer: measures the network.
    """
    main, every = trainer.accelerator.is_main_process, trainer.config.watch_every
    with panel() if main else nullcontext() as show:
        for update in trainer:
            trainer.accelerator.log({f"train/{k}": v for k, v in update._asdict().items()}, step=update.step)
            if main and show and (update.step % every == 0 or update.step == trainer.config.steps):
                record(trainer, update, observer.measure(trainer.averaged), show)
            trainer.accelerator.wait_for_everyone()
        if main and show and not trainer.config.steps:
            record(trainer, Update(0), observer.measure(trainer.averaged), show)


def record(trainer: Trainer, update: Update, found: Panel, show: Show) -> None:
    """Write the metrics of one validation to the journal, to the trackers and to the terminal.

    Args:
        trainer: of the run.
        update: the last one.
        found: the metrics.
        show: adds a row to the table on the terminal.
    """
    line = {**update._asdict(), **found._asdict(), "spent": trainer.ledger.spent._asdict()}
    line["seconds"] = round(trainer.ledger.seconds, 1)
    append_line(trainer.folder / PANEL, json.loads(json.dumps(line).replace("NaN", "null")))
    trainer.accelerator.log({f"watch/{k}": v for k, v in found._asdict().items()}, step=update.step)
    show(line)


@contextmanager
def panel() -> Iterator[Show]:
    """Open a table of metrics on stderr, and yield the function that adds a row to it."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(" ".join(f"{name:>10}" for name in SHOWN), soft_wrap=True)

    def show(line: Line) -> None:
        console.print(" ".join(f"{line[name]:>10.4g}" for name in SHOWN), soft_wrap=True, highlight=False)

    yield show


def flat(config: TrainConfig) -> dict[str, Any]:
    """Return a recipe as trackers take it: numbers and texts only.

    Args:
        config: the recipe.
    """
    return {k: v if isinstance(v, int | float | str) else json.dumps(v) for k, v in config.model_dump().items()}
