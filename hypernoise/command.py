"""`gensearch train hypernoise`: the run, its folder, its panel and its trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

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

PANEL = "panel.jsonl"
RESULT, LOGS = "hypernoise", "logs"  # folders of the trained network and of the tracker within that of the run
TRACKERS = ("tensorboard", "wandb", "none")
SHOWN = ("step", *Panel._fields, "alive", "skipped")


def train(config: str, sets: Sequence[str], out: Path, log: str) -> None:
    """Train, watch, and write the result to `out`/hypernoise; the same call goes on where a killed one stopped."""
    from accelerate import Accelerator

    require_tracker(log)
    recipe = make_config(config, sets)
    learn, watch = split(read_prompts(recipe.prompts), recipe.validation)
    device = str(recipe.options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
    accelerator: Any = Accelerator(
        log_with=None if log == "none" else log, project_dir=str(out / LOGS), cpu=device.startswith("cpu")
    )
    model = registry.load_model(recipe.model, **placed(recipe.options, accelerator))
    verifier = registry.verifier(recipe.rewards, device=device_of(model))
    with owned(out) if accelerator.is_main_process else nullcontext():
        trainer = Trainer(recipe, model, verifier, learn, out, accelerator)
        if accelerator.is_main_process:
            go_on(trainer)
        observer = Watch(model, verifier, watch, recipe.watch_seeds, recipe.seed)
        accelerator.init_trackers("hypernoise", flat(recipe))
        follow(trainer, observer)
        if accelerator.is_main_process:
            trainer.result().save_pretrained(out / RESULT)
            typer.echo(f"hypernetwork: {out / RESULT}")
        accelerator.end_training()


def require_tracker(log: str) -> None:
    """Raise ValueError for a tracker that is not known, and ImportError for one that is not installed."""
    from accelerate.tracking import get_available_trackers

    if log not in TRACKERS:
        raise ValueError(f"no tracker is called {log!r}{nearest(log, TRACKERS)}")
    if log not in ("none", *map(str, get_available_trackers())):
        raise ImportError(f"{log} is not installed; run `pip install {log}`, or take another --log: none keeps a panel")


def placed(options: Mapping[str, Any], accelerator: Any) -> dict[str, Any]:
    """How to load the model: of several processes, each has it on a device of its own."""
    own = accelerator.num_processes > 1 and accelerator.device.type != "cpu"
    return {**options, **({"device": str(accelerator.device)} if own else {})}


def go_on(trainer: Trainer) -> None:
    """Take up the panel of an interrupted run at its checkpoint: later looks are forgotten, and the clock goes on."""
    path = trainer.folder / PANEL
    lines = [line for line in read_records(path, {"step", "seconds"}, "look") if 0 < line["step"] <= trainer.done]
    if path.exists():
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    if lines:
        trainer.ledger.started -= lines[-1]["seconds"]


def remember(runs: Sequence[Path], folder: Path) -> None:
    """Put the winners of finished runs into a memory, all of one model and verifier; says what became of each."""
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
            raise ValueError(f"{run} is of {config.model} judged by {config.verifier}; one memory holds one of each")
        score, base = result["best"]["score"], result["base"]["score"]
        kept = memory.remember(config.prompt, about.recipe, score, base)
        typer.echo(f"{run}: {'remembered' if kept else 'known already, or no better than its base'}")


def follow(trainer: Trainer, observer: Watch) -> None:
    """Do the updates, and look at the averaged network now and then; only the main process looks."""
    main, every = trainer.accelerator.is_main_process, trainer.config.watch_every
    with panel() if main else nullcontext() as show:
        for update in trainer:
            trainer.accelerator.log({f"train/{k}": v for k, v in update._asdict().items()}, step=update.step)
            if main and show and (update.step % every == 0 or update.step == trainer.config.steps):
                record(trainer, update, observer.look(trainer.averaged), show)
            trainer.accelerator.wait_for_everyone()
        if main and show and not trainer.config.steps:
            record(trainer, Update(0), observer.look(trainer.averaged), show)


def record(trainer: Trainer, update: Update, seen: Panel, show: Callable[[dict[str, Any]], None]) -> None:
    """Put one look on the panel, into the journal and into the trackers."""
    line = {**update._asdict(), **seen._asdict(), "spent": trainer.ledger.spent._asdict()}
    line["seconds"] = round(trainer.ledger.seconds, 1)
    append_line(trainer.folder / PANEL, json.loads(json.dumps(line).replace("NaN", "null")))
    trainer.accelerator.log({f"watch/{k}": v for k, v in seen._asdict().items()}, step=update.step)
    show(line)


@contextmanager
def panel() -> Iterator[Callable[[dict[str, Any]], None]]:
    """A table on stderr that grows by a row at each look, and the function that adds one."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(" ".join(f"{name:>10}" for name in SHOWN), soft_wrap=True)

    def show(line: dict[str, Any]) -> None:
        console.print(" ".join(f"{line[name]:>10.4g}" for name in SHOWN), soft_wrap=True, highlight=False)

    yield show


def flat(config: TrainConfig) -> dict[str, Any]:
    """A recipe as trackers take it."""
    return {k: v if isinstance(v, int | float | str) else json.dumps(v) for k, v in config.model_dump().items()}
