"""A journal of pictures, so that a search that was stopped goes on without drawing anything twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from gensearch.core.ledger import Cost, Ledger
from gensearch.core.types import Model, Noise
from gensearch.core.verbs import Trace
from gensearch.files.atomic import write_atomic
from gensearch.models.fingerprint import verifier_hashes
from verifiers.types import Media, Scores, Verifier


class Drawing(NamedTuple):
    """The tokens that a model drew from some noise, the pictures and their scores."""

    trace: Trace
    media: Media
    scores: Scores


class Journal(NamedTuple):
    """A folder of drawings, named by the noise they were drawn from, and the ledger that is charged for them again.

    What a search computes from drawings, such as latents and an optimiser's moments, is the same again bit for bit: the
    same call reads what is there and goes on from there. `about` is what drawings depend on besides the noise.
    """

    folder: Path
    ledger: Ledger
    about: str

    def recall(self, noise: Noise, draw: Callable[[], Drawing]) -> Drawing:
        """The drawing from this noise, read if it is there and made and written if not.

        Raises ValueError for a damaged file.
        """
        named = hashlib.blake2b(self.about.encode() + noise.contiguous().numpy().tobytes(), digest_size=12)
        path = self.folder / f"{named.hexdigest()}.safetensors"
        if path.exists():
            drawing, spent, padding = read(path)
            self.ledger.charge(spent, padding)
            return drawing
        before = self.ledger.spent, self.ledger.padding
        drawing = draw()
        spent, padding = (
            now.plus(was.times(-1)) for now, was in zip((self.ledger.spent, self.ledger.padding), before, strict=True)
        )
        write(path, drawing, spent, padding)
        return drawing


def open_journal(folder: str, ledger: Ledger, model: Model, verifier: Verifier, prompt: str) -> Journal | None:
    """The journal of a search, if a folder is named."""
    if not folder:
        return None
    return Journal(
        Path(folder), ledger, json.dumps([prompt, verifier.name, verifier_hashes(verifier), model.fingerprint()])
    )


def write(path: Path, drawing: Drawing, spent: Cost, padding: Cost) -> None:
    """A drawing with what it cost, whole or not at all."""
    from safetensors.torch import save

    tensors = {f"trace.{name}": value for name, value in drawing.trace._asdict().items()}
    tensors |= {f"part.{name}": value for name, value in drawing.scores.parts.items()}
    tensors |= {"media": drawing.media, "total": drawing.scores.total}
    cost = {"spent": json.dumps(spent), "padding": json.dumps(padding)}
    write_atomic(path, save({name: plain(value) for name, value in tensors.items()}, cost))


def plain(value: Tensor) -> Tensor:
    """A tensor as files hold it."""
    return value.detach().cpu().contiguous().clone()


def read(path: Path) -> tuple[Drawing, Cost, Cost]:
    """A drawing and what it cost; raises ValueError for a file that is none."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as handle:
            costs = handle.metadata()
        tensors = load_file(path)
        trace = Trace(*(tensors[f"trace.{name}"] for name in Trace._fields))
        parts = {name.removeprefix("part."): value for name, value in tensors.items() if name.startswith("part.")}
        drawing = Drawing(trace, tensors["media"], Scores(tensors["total"], parts))
        return drawing, Cost(*json.loads(costs["spent"])), Cost(*json.loads(costs["padding"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no drawing of a journal ({error}); delete it and it is drawn again") from error
