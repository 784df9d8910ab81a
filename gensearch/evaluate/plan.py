"""What an evaluation does: prompts x seeds x methods, as one schema for YAML files and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gensearch.packages import configs


class Method(BaseModel):
    """One way to turn a prompt and a seed into a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=60)  # also a folder of pictures
    model: str = "shapes/turbo"
    options: dict[str, Any] = {}  # how to load the model: steps, guidance, device
    verifier: str = "shapes/clip"  # guides the search
    select: str | None = None  # picks among finished samples instead of the guide
    search: str = "best_of_n"
    knobs: dict[str, Any] = {}  # of the search
    compute: float | None = Field(None, ge=1)  # in prices of one ordinary sample


class Plan(BaseModel):
    """Every method on every prompt with every seed; the seeds are shared, so that all comparisons are paired."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int = Field(48, ge=1)  # per tag, at most
    seeds: int = Field(1, ge=1)  # per prompt
    seed: int = Field(0, ge=0)  # the root that all seeds come from
    threads: int = Field(1, ge=1)  # per process: part of the plan because it changes the last bits
    baseline: str = ""  # what the others are compared with; the first method unless given
    holdout: tuple[str, ...] = ()  # verifiers that only report
    methods: tuple[Method, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def name_the_baseline(cls, data: Any) -> Any:
        """Write down the default baseline, so that a recorded plan says it."""
        methods = data.get("methods") or [{}]
        return {**data, "baseline": data.get("baseline") or dict(methods[0]).get("name", "")}

    @model_validator(mode="after")
    def check_names(self) -> Plan:
        """Names are unique, the baseline is one of them, and a hold-out neither guides nor selects."""
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"two methods have one name among {', '.join(names)}; rename one")
        if self.baseline not in names:
            raise ValueError(f"the baseline {self.baseline!r} is not a method{nearest(self.baseline, names)}")
        for method in self.methods:
            for name in {method.verifier, method.select} & set(self.holdout):
                raise ValueError(
                    f"the hold-out {name!r} also guides or selects in {method.name!r}; take one that does neither"
                )
        return self


def make_plan(config: str | None, methods: Sequence[str], **overrides: Any) -> Plan:
    """A plan from a preset or YAML file, then `--method` texts (same name replaces), then options that are not None.

    Raises ValueError with one line that names the field, the rule and the nearest known name.
    """
    data = read_config(config) if config else {}
    listed = {entry.get("name"): entry for entry in data.get("methods", ())}
    listed |= {entry["name"]: entry for entry in map(parse_method, methods)}
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Plan.model_validate({**data, "methods": list(listed.values()), **given})
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def parse_method(text: str) -> dict[str, Any]:
    """`NAME=KEY:VALUE,KEY:VALUE` as a mapping; `knobs.n:4` and `options.steps:2` set one entry of a field.

    Values are read as YAML. Raises ValueError for any other form.
    """
    name, equals, rest = text.partition("=")
    pairs = [pair.partition(":") for pair in rest.split(",") if pair.strip()]
    if not equals or not all(colon and value for _, colon, value in pairs):
        raise ValueError(f"cannot read the method {text!r}; write NAME=KEY:VALUE,KEY:VALUE as in 'best16=compute:16'")
    data: dict[str, Any] = {"name": name.strip()}
    for key, _, value in pairs:
        field, dot, entry = key.strip().partition(".")
        if dot:
            data.setdefault(field, {})[entry] = yaml.safe_load(value)
        else:
            data[field] = yaml.safe_load(value)
    return data


def read_config(name: str) -> dict[str, Any]:
    """A YAML file by path, or a preset of `configs/evaluate` by name; raises ValueError if there is none."""
    folder = configs() / "evaluate"
    path = Path(name) if Path(name).is_file() else folder / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(
            f"no file and no preset is called {name!r}{nearest(name, [p.stem for p in folder.glob('*.yaml')])}"
        )
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} holds no mapping; write fields of a plan such as `methods:`")
    return dict(data)


def explain(error: ValidationError) -> str:
    """The first problem that pydantic found, in one line."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        known = list((Plan if len(problem["loc"]) == 1 else Method).model_fields)
        return f"unknown field {where!r} in the plan{nearest(str(problem['loc'][-1]), known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {problem['input']!r})" if where else message


def nearest(name: str, known: Sequence[str]) -> str:
    """The tail of an error about an unknown name."""
    close = get_close_matches(name, known, 1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Known: {', '.join(known) or 'none'}."
