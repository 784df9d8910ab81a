"""Writing the folder of a run: append-only rounds, everything else published whole, and the recipe in each picture."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from gensearch.config.run import RunConfig
from gensearch.files.atomic import append_line, held, owned, require_writable, sweep, write_atomic
from gensearch.files.compare import by_machine, compare
from gensearch.files.images import digest, encode, strip, thumbnail, to_pixels
from gensearch.files.movies import write_clip
from gensearch.packages import __version__
from gensearch.runs.format import PUBLISHED, ROUNDS, Provenance, column, plain, read_journal, read_json, read_provenance
from gensearch.runs.passports import stored
from gensearch.runs.records import guarded, number, round_line, scores_of
from gensearch.runs.repeat import machine_of, reason, repeats

if TYPE_CHECKING:
    from gensearch.core.guard import Guard
    from gensearch.core.ledger import Cost
    from gensearch.core.result import Progress, Result, Sample
    from gensearch.core.types import Model


class RunFolder:
    """One run on disk. Killed at any moment, it holds only whole files and whole lines."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        """Look at a folder, change nothing.

        Args:
            path: The folder, which may be missing.
            config: What the run does.

        Raises:
            ValueError: The folder belongs to something else, is damaged or cannot be written to.
        """
        self.path = path
        self.config = config
        self.added = 0
        self.machine: dict[str, Any] = {}
        if os.path.isfile(path):
            raise ValueError(f"{path} is a file; give a folder with --out")
        if not os.path.exists(path / "DONE"):  # a finished run is only read
            require_writable(path)
        self.refuse_others()
        self.rounds = read_journal(path)

    @property
    def done(self) -> bool:
        """Whether the run is finished and everything that it wrote is still there."""
        return all((self.path / name).exists() for name in PUBLISHED)

    def refuse_others(self) -> None:
        """Raise ValueError if the folder holds a round of another config, or files but no config."""
        there = held(self.path)
        claim = self.path / "config.json"
        if not claim.exists():
            if there:
                raise ValueError(f"{self.path} holds other files and no run; take another --out")
            return
        about, mine = read_json(claim), self.config.model_dump(mode="json")
        theirs = about.get("config")
        if about.keys() != {"gensearch", "config"} or not isinstance(theirs, dict):
            raise ValueError(f"{claim} is damaged; take another --out")
        differ = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
        began = there - {"config.json", "candidates"}  # without a round a corrected run may have the folder
        if differ and began:
            raise ValueError(f"{self.path} holds another run: {', '.join(differ)} differ. Take another --out")

    def refuse_changes(self, model: Model) -> None:
        """Check that a finished run is this model's, wherever it was made.

        Args:
            model: The model as it is.

        Raises:
            ValueError: Another model, by weights or settings, made the run, or its result is damaged.
        """
        about = read_provenance(json.dumps(read_json(self.path / "result.json").get("provenance")), str(self.path))
        _, changed = by_machine(compare(about.fingerprint, plain(model.fingerprint())))
        if changed:
            raise ValueError(
                f"{self.path} is finished, but the model changed since: {', '.join(changed)} differ. Take another --out"
            )

    @contextmanager
    def claimed(self, model: Model | None = None) -> Iterator[None]:
        """Make the folder this run's own, and this process its only writer.

        A folder that was made for it goes again if it fails before its first round.

        Args:
            model: The generator, whose machine is recorded with the first round.

        Raises:
            ValueError: Another process is writing to the folder, or it belongs to something else.
        """
        self.machine = machine_of(plain(model.fingerprint())) if model else {}
        with owned(self.path, ROUNDS):
            self.refuse_others()  # again: somebody may have written since
            self.rounds = read_journal(self.path)
            if not self.rounds:
                rmtree(self.path / "candidates", ignore_errors=True)
                config = self.config.model_dump(mode="json")
                self.publish_json("config.json", {"gensearch": __version__, "config": config})
            if not self.done:
                (self.path / "DONE").unlink(missing_ok=True)
            yield

    def add(self, progress: Progress) -> None:
        """Record one round. A resumed run starts over and must repeat the recorded rounds bit for bit.

        Args:
            progress: What the search yielded last.

        Raises:
            ValueError: The round differs from the recorded one; it says which machine or what else changed.
        """
        line = plain(round_line(progress, self.added))
        if self.added < len(self.rounds) and not repeats(self.rounds[self.added], line):
            why = reason(self.rounds[self.added], line, self.recorded_machine(), self.machine)
            raise ValueError(f"round {self.added} differs from the one in {self.path}, {why}")
        if not self.added and self.machine:
            line["machine"] = self.machine
        if progress.round.done:
            for row, sample in enumerate(progress.round.ids):
                pixels = to_pixels(progress.round.media[row])
                write_atomic(self.path / "candidates" / f"{sample:05}.png", encode(thumbnail(pixels)))
        if self.added >= len(self.rounds):
            append_line(self.path / ROUNDS, line)
        self.added += 1

    def recorded_machine(self) -> dict[str, Any]:
        """The machine that the recorded rounds were made on; empty if neither they nor a result say so."""
        said = self.rounds[0].get("machine")
        if isinstance(said, dict):
            return said
        try:
            made_by = read_json(self.path / "result.json").get("provenance")
            return machine_of(read_provenance(json.dumps(made_by), str(self.path)).fingerprint)
        except ValueError:
            return {}

    def finish(
        self,
        found: Result,
        holdout: Mapping[str, tuple[float, float]],
        model: Model,
        guard: Guard | None = None,
        aside: Cost | None = None,
    ) -> None:
        """Publish pictures, result and report, and mark the run as done unless it was cut short.

        Args:
            found: The outcome of the search.
            holdout: Scores of the winner and of the first finished sample by each hold-out, by name.
            model: The generator.
            guard: What speaks for over-optimisation.
            aside: What hold-outs spent beside the ledger.

        Raises:
            ValueError: The folder holds rounds that this run did not repeat.
        """
        from gensearch.runs.report import write_report  # torch waits until there is something to show

        cut_short = found.stopped in ("closed", "error")
        if self.added < len(self.rounds) and not cut_short:
            raise ValueError(
                f"{self.path / ROUNDS} holds {len(self.rounds)} rounds and this run has {self.added}: it was "
                "edited, or another version made it. Take another --out"
            )
        best = self.publish_picture("best", found.best, model)
        base = self.publish_picture("base", found.base, model)
        unit = column(found.ledger.spent._asdict())
        result = {
            "provenance": best.model_dump(mode="json"),
            "best": scores_of(found.best),
            "base": scores_of(found.base) | {"pixels": base.pixels},
            "holdout": {name: [number(value) for value in pair] for name, pair in holdout.items()},
            "curve": [[getattr(p.spent, unit), round(p.seconds, 3), number(p.best)] for p in found.curve],
            "ledger": found.ledger.report(),
            "unscored": found.unscored,
            "stopped": found.stopped,
            "error": found.error,
            "unspent": dict(found.unspent),
            "motion": found.motion._asdict() if found.motion else None,
            "election": found.election._asdict() if found.election else None,
            "guard": guarded(guard) if guard else None,
            "aside": aside._asdict() if aside else {},
            "passports": [p for name in (self.config.verifier, *holdout) for p in stored(name)],
        }
        self.publish_json("result.json", result)
        write_report(self.path)
        sweep(self.path)
        (self.path / "error.txt").unlink(missing_ok=True)
        if found.trace:
            write_atomic(self.path / "error.txt", found.trace.encode(errors="replace"))
        if not cut_short:
            write_atomic(self.path / "DONE", b"")

    def publish_picture(self, name: str, sample: Sample, model: Model) -> Provenance:
        """Write one picture with its recipe inside; returns the recipe.

        Args:
            name: Of the file, without its ending.
            sample: The picture or clip.
            model: The generator.
        """
        pixels = to_pixels(sample.media)
        about = Provenance(
            gensearch=__version__,
            config=self.config,
            sample=sample.id,
            recipe=[list(move) for move in sample.recipe],
            score=number(sample.score),
            pixels=digest(pixels),
            batch_size=model.batch_size,
            sizes=list(sample.sizes) or None,
            fingerprint=plain(model.fingerprint()),
        )
        text = {"parameters": parameters(about, pixels, model), "gensearch": about.text()}
        kept = text if self.config.metadata else None
        write_atomic(self.path / f"{name}.png", encode(pixels, kept))
        if len(pixels) > 1:
            write_atomic(self.path / f"{name}_strip.png", encode(strip(pixels)))
            write_clip(self.path / f"{name}.gif", pixels, kept["gensearch"] if kept else None)
        return about

    def publish_json(self, name: str, data: Any) -> None:
        """Write a JSON file whole or not at all."""
        write_atomic(self.path / name, json.dumps(data, indent=1, allow_nan=False).encode())


def default_folder(config: RunConfig, root: Path = Path("runs")) -> Path:
    """Where this config has run before, or a new `runs/<time>-<hash>`; the name never holds text of the prompt.

    Args:
        config: What the run does.
        root: The folder of all runs.
    """
    key = f"{__version__} {config.model_dump_json()}"
    hashed = hashlib.sha256(key.encode()).hexdigest()[:10]
    before = sorted(root.glob(f"*-{hashed}"))
    return before[-1] if before else root / f"{time.strftime('%Y%m%d-%H%M%S')}-{hashed}"


def parameters(about: Provenance, pixels: np.ndarray, model: Model) -> str:
    """The recipe in the form that AUTOMATIC1111's web UI writes and many tools read."""
    from gensearch.core.noise import first_seed, prompt_of  # loads torch

    config = about.config
    height, width = pixels.shape[1:3]
    fields = {
        "Steps": model.num_steps,
        "Sampler": config.options.get("sampler"),
        "CFG scale": getattr(model, "guidance_scale", getattr(model, "guidance", None)),
        "Seed": first_seed(about.moves),
        "Size": f"{width}x{height}",
        "Model": model.name.replace(",", " "),
        "Score": None if about.score is None else f"{about.score:.6g}",
        "Search": config.search,
        "Version": f"gensearch {about.gensearch}",
    }
    return f"{prompt_of(about.moves, config.prompt)}\n" + ", ".join(
        f"{name}: {value}" for name, value in fields.items() if value is not None
    )
