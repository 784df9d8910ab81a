"""What the folder of a run holds, and how it is read back.

config.json    what was asked; written first
rounds.jsonl   one line per round: the truth that everything else follows from; the first also names the machine
candidates/    a small picture of every finished sample
best.png base.png result.json report.html
error.txt      the traceback, if an exception cut the search short
best.gif best_strip.png ...  of clips: for other programs, with the recipe in the GIF's comment and in best.gif.json
DONE           written last, and only if the search was not cut short
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gensearch.config.explain import explain
from gensearch.config.run import RunConfig
from gensearch.files.atomic import read_records
from gensearch.models.options import Batch

if TYPE_CHECKING:
    from gensearch.core.types import Recipe

ROUNDS = "rounds.jsonl"
PUBLISHED = ("config.json", ROUNDS, "best.png", "base.png", "result.json", "report.html", "DONE")
COMPARED = ("done", "ids", "parents", "recipes", "scores", "parts")  # of a round: what a rerun must repeat bit for bit

Move = Annotated[list[str | int | float], Field(min_length=2, max_length=8)]


class Provenance(BaseModel):
    """All that one picture needs to be made again: carried by the PNG and by result.json, trusted in neither."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    gensearch: str = Field(max_length=40)  # the version that made it
    config: RunConfig
    sample: int = Field(ge=0)  # its id within the search
    recipe: Annotated[list[Move], Field(min_length=1, max_length=10_000)]
    score: float | None
    pixels: str = Field(pattern=r"^[0-9a-f]{64}$")  # sha256 of the uint8 frames [t, h, w, 3]
    batch_size: Batch  # the largest physical one of the networks
    sizes: Annotated[list[Batch], Field(min_length=1, max_length=10_000)] | None = None  # that the sample went through
    fingerprint: dict[str, Any]  # what else the bits depend on

    @property
    def moves(self) -> Recipe:
        """The recipe as searches have it."""
        return tuple(tuple(move) for move in self.recipe)

    def text(self) -> str:
        """As files carry it."""
        return json.dumps(self.model_dump(mode="json"))


def read_provenance(text: str | bytes, where: str) -> Provenance:
    """Parse and validate what a file says about its picture.

    Args:
        text: The JSON.
        where: What errors call the file.

    Raises:
        ValueError: It is no recipe; in one line that names the place and the first problem.
    """
    try:
        return Provenance.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        problem = explain(error, Provenance) if isinstance(error, ValidationError) else "it is nested too deeply"
        raise ValueError(f"{where} holds no usable recipe: {problem}") from None


def plain(data: Any) -> Any:
    """Data as JSON gives it back: sequences as lists."""
    return json.loads(json.dumps(data))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run folder; raises ValueError in one line if it is missing or damaged."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); is {path.parent} the folder of a run?") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return data


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The finished rounds of a run; a torn last line is ignored, any other damage raises ValueError."""
    return read_records(folder / ROUNDS, set(COMPARED), "round")


PASSES = {"nfe": "network passes (nfe)", "tokens": "token steps"}  # what a generator's own work is called


def column(spent: Mapping[str, int]) -> str:
    """Return what the work of a run's generator is booked under: "nfe", or "tokens" of an autoregressive model.

    Args:
        spent: counts by column of the ledger.
    """
    return "nfe" if spent["nfe"] or not spent["tokens"] else "tokens"


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what a reader of a result should know besides its scores: an early end, unscored samples, unspent budget.

    Args:
        result: the contents of result.json.
    """
    finished, said = len(result["curve"]), []
    if result["stopped"] == "closed":
        said.append(f"it was stopped early, after {finished} finished samples")
    if result.get("error"):
        said.append(f"an error ended it after {finished} finished samples: {result['error']}")
    if result["unscored"]:
        said.append(f"{result['unscored']} samples could not be scored and did not compete")
    limit = result["ledger"]["limit"]
    left = [f"{value} of {limit[name]} {name}" for name, value in (result.get("unspent") or {}).items()]
    if left:
        said.append(f"{' and '.join(left)} were not spent")
    return said


def charged(spent: Mapping[str, int]) -> str:
    """Return what remote critics cost, in words; empty if nothing.

    Args:
        spent: columns of a ledger; older records lack some.
    """
    tokens, money = spent.get("critic_tokens", 0), spent.get("microdollars", 0)
    return ", ".join([f"{tokens:,} critic tokens"] * bool(tokens) + [f"${money / 1e6:.4f}"] * bool(money))
