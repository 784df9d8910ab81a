"""A panel of verifiers as data: a list of entries with role, weight, shift and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gensearch.config.explain import explain
from gensearch.config.yaml import read_preset
from gensearch.core.errors import plain
from verifiers.names import elects, split_sum

Name = Annotated[str, Field(min_length=1, max_length=300)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Entry(BaseModel):
    """One verifier of a panel. Those of one role are summed as weight * (score - shift) / scale; hold-outs are not."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    role: Literal["guide", "select", "holdout"] = "guide"
    weight: Number = 1.0
    shift: Number = 0.0  # a typical score
    scale: Number = 1.0  # a typical spread of scores, not 0

    @model_validator(mode="after")
    def check_numbers(self) -> Entry:
        """Scales divide; hold-outs are reported as they are; elections add nothing."""
        if self.scale == 0:
            raise ValueError(f"the scale of {self.name!r} is 0; give the spread of its scores")
        if (self.role == "holdout" or elects(self.name)) and (self.weight, self.shift, self.scale) != (1, 0, 1):
            raise ValueError(f"{self.name!r} enters no sum; leave out its weight, shift and scale")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether its score is shifted or scaled."""
        return (self.shift, self.scale) != (0, 1)


Entries = Annotated[list[Entry], Field(min_length=1, max_length=16)]
FIELDS = {"guide": "verifier", "select": "select", "holdout": "holdout"}  # of RunConfig, by role


class File(BaseModel):
    """A YAML file with a panel."""

    model_config = ConfigDict(extra="forbid")

    verifiers: Entries


def read_panel(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a YAML file with the key `verifiers`, as plain data.

    Args:
        path: Of the file.

    Raises:
        ValueError: It cannot be read, or an entry is unfit.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no panel {str(path)!r}; give a YAML file with a list `verifiers:`")
    try:
        return [entry.model_dump() for entry in File.model_validate(read_preset(str(path))).verifiers]
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, File)}") from None


def entries_of(data: Sequence[Mapping[str, Any] | Entry]) -> list[Entry]:
    """Entries from plain data.

    Args:
        data: One mapping for each verifier.

    Raises:
        ValueError: An entry is unfit.
    """
    try:
        return File.model_validate({"verifiers": list(data)}).verifiers
    except ValidationError as error:
        raise ValueError(explain(error, File)) from None


def names_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The fields `verifier`, `select` and `holdout` of a run that has these entries, for records and reports.

    Args:
        entries: Of a panel.

    Raises:
        ValueError: None of them guides, or one that elects has company.
    """
    by_role = {role: [entry for entry in entries if entry.role == role] for role in FIELDS}
    if not by_role["guide"]:
        raise ValueError("no verifier of the panel guides; give one the role guide")
    for role in ("guide", "select"):
        if len(by_role[role]) > 1 and (vote := next((e for e in by_role[role] if elects(e.name)), None)):
            raise ValueError(f"{vote.name!r} enters no sum; let it {role} alone")
    summed = {role: "+".join(map(term, by_role[role])) or None for role in ("guide", "select")}
    return {"verifier": summed["guide"], "select": summed["select"], "holdout": [e.name for e in by_role["holdout"]]}


def term(entry: Entry) -> str:
    """An entry as a term of a sum in the grammar of verifier names, which knows no shift and scale.

    Args:
        entry: Of a panel.

    Raises:
        ValueError: It is a sum itself and has a weight.
    """
    if entry.weight == 1:
        return entry.name
    if len(split_sum(entry.name)) > 1:
        raise ValueError(f"{entry.name!r} is a sum with a weight; list its verifiers one by one")
    weight = plain(entry.weight) if entry.weight == int(entry.weight) else repr(entry.weight)
    return f"{weight}*{entry.name}"
