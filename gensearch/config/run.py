"""The one schema of a run: it validates the command line, presets, records and what a PNG claims about itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gensearch.core.errors import OUT_OF_RANGE, allowed, nearest
from gensearch.packages import configs

MAX_PROMPT = 2000  # characters; longer text is a mistake or an attack, no text encoder reads it
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control, surrogate, line and paragraph separator
MAX_CONFIG_BYTES = 100_000
MAX_COMPUTE = 1_000_000
MAX_THREADS = 256
MAX_SEED = 2**53 - 1  # exact in JSON and in JavaScript
CONTROLS = frozenset({"unguided"})  # searches that ignore what judges say, so that none may select either

KINDS = {"bool", "int", "float", "str"}  # what pydantic adds to the place of a problem with one of several types

Name = Annotated[str, Field(min_length=1, max_length=300)]
Value = bool | int | float | str | None
Mapped = Annotated[dict[str, Value | list[Value]], Field(max_length=50)]


class RunConfig(BaseModel):
    """One search on one prompt. Everything that decides the outcome is here; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    prompt: str = Field(max_length=MAX_PROMPT)
    model: Name = "shapes/turbo"
    options: Mapped = {}  # how to load the model: steps, guidance_scale, batch_size, device, dtype
    verifier: Name = "shapes/clip"  # guides the search
    select: Name | None = None  # picks among finished samples instead of the guide
    holdout: Annotated[list[Name], Field(max_length=8)] = []  # only report
    search: Name = "best_of_n"
    propose: Name | None = None  # a noise hypernetwork by name, folder or repository, or a memory
    compute: float | None = Field(default=None, ge=1, le=MAX_COMPUTE)  # prices of one ordinary sample
    knobs: Mapped = {}  # of the search
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    metadata: bool = True  # the recipe inside the PNG files

    @field_validator("prompt")
    @classmethod
    def check_prompt(cls, prompt: str) -> str:
        """Something to draw, without control characters."""
        if not prompt.strip():
            raise ValueError("it is empty; say what the picture should show")
        check_characters(prompt)
        return prompt

    @field_validator("options")
    @classmethod
    def check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Whatever a config says, no code from a model's repository is run."""
        if "trust_remote_code" in options:
            raise ValueError("trust_remote_code is never passed on; models run with the code that is installed")
        return options

    @model_validator(mode="after")
    def check_roles(self) -> RunConfig:
        """A hold-out neither guides nor selects, nothing selects for a control, and a rank vote does nothing else."""
        from gensearch.registry import leaf_names, ranked

        seen = leaf_names(self.verifier) | leaf_names(self.select or self.verifier)
        for name in self.holdout:
            if leaf_names(name) & seen:
                raise ValueError(f"the hold-out {name!r} also guides or selects; hold out a judge that does neither")
        for name in (self.verifier, *self.holdout):
            if ranked(name):
                raise ValueError(f"{name!r} can only select: ranks mean nothing outside a pool of candidates")
        if self.select:
            refuse_selector(self.select, self.search)
        return self


def refuse_selector(select: str, search: str) -> None:
    """Raise ValueError if a search is a control, in which no judge may have the last word."""
    if search in CONTROLS:
        raise ValueError(f"{select!r} would pick instead of the lottery, and {search} be no control; leave out select")


def check_characters(prompt: str) -> None:
    """Raise ValueError for a prompt with control characters; joiners and wide spaces belong to some scripts."""
    for place, character in enumerate(prompt):
        if unicodedata.category(character) in UNPRINTABLE:
            raise ValueError(f"the prompt holds the control character {character!r} at position {place}; remove it")


def make_config(config: str | None = None, sets: Sequence[str] = (), **given: Any) -> RunConfig:
    """A config from a preset or YAML file, then what is not None in `given`, then `a.b=c` texts.

    Mappings (`knobs`, `options`) are merged key by key. A knob that bounds the search replaces a preset's `compute`,
    unless that is asked for too. Raises ValueError with one line that names the field, the
    rule and the nearest known name.
    """
    data = {} if config is None else read_preset(config)
    for name, value in given.items():
        if isinstance(value, Mapping):
            data[name] = {**entries(data, name), **value}
        elif value is not None:
            data[name] = value
    for text in sets:
        assign(data, *split(text, "--set", "compute=8 or knobs.n=4"))
    if config and "compute" in data and unlimited(data, asked(given, sets)):
        del data["compute"]
    if "prompt" not in data:
        raise ValueError("there is no prompt; give it as the first argument or as `prompt:` in the config")
    return validate(data)


def asked(given: Mapping[str, Any], sets: Sequence[str]) -> set[str]:
    """Dotted names of the fields and knobs that were given beside a preset."""
    fields = {name for name, value in given.items() if value is not None}
    return fields | {f"knobs.{name}" for name in given.get("knobs") or ()} | {t.partition("=")[0].strip() for t in sets}


def unlimited(data: Mapping[str, Any], given: set[str]) -> bool:
    """Whether a given knob bounds the search, and no budget was given with it."""
    if "compute" in given or not any(name.startswith("knobs.") for name in given):
        return False
    from gensearch.engine.run import open_ended
    from gensearch.registry import search

    knobs = entries(data, "knobs")
    bounds = open_ended(search(str(data.get("search", RunConfig.model_fields["search"].default))))
    return any(f"knobs.{name}" in given and knobs.get(name) is not None for name in bounds)


def validate(data: Any) -> RunConfig:
    """A config from plain data; raises ValueError with the first problem in one line."""
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ValueError(explain(error, RunConfig)) from None


def split(text: str, option: str, example: str) -> tuple[str, Any]:
    """`key=value` with the value read as YAML; raises ValueError for any other form."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise ValueError(f"cannot read {option} {text!r}; write it as {example}")
    return key.strip(), parse_yaml(value, f"{option} {text!r}")


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a field, or with a dot one entry of a mapping."""
    field, dot, entry = key.partition(".")
    if not dot:
        data[field] = value
        return
    if field not in {"knobs", "options"}:
        raise ValueError(f"cannot set {key!r}: only knobs and options have entries of their own")
    data[field] = {**entries(data, field), entry: value}


def entries(data: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """What a field that is a mapping holds so far, nothing if it is null; raises ValueError if it is something else."""
    inside = {} if data.get(field) is None else data[field]
    if not isinstance(inside, Mapping):
        raise ValueError(f"{field}: it is {inside!r} in the config; write it as {field}: {{name: value}}")
    return inside


def read_preset(name: str, folder: Path | None = None) -> dict[str, Any]:
    """A YAML file by path, or a preset of the folder (default: `configs/`) by name, as a mapping.

    Raises ValueError if there is none, or if it is not a small YAML mapping.
    """
    folder = folder or configs()
    try:
        path = Path(name) if Path(name).is_file() else folder / f"{Path(name).name}.yaml"
        if not path.is_file():
            raise ValueError(f"no file and no preset is called {name!r}{nearest(name, presets(folder))}")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; a config has at most {MAX_CONFIG_BYTES}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the config {name[:160]!r} ({error.strerror}); give a YAML file") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; a config is YAML in UTF-8") from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ValueError(f"{path} holds no mapping; write lines such as `compute: 16`")
    return data


def presets(folder: Path | None = None) -> list[str]:
    """Names of the presets in a folder (default: `configs/`)."""
    return sorted(path.stem for path in (folder or configs()).glob("*.yaml"))


class Loader(yaml.SafeLoader):
    """Plain data only, with the floats of YAML 1.2: 1e2 is a number. A key that is there twice is a mistake."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping; raises ConstructorError for a key that is there twice."""
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        seen: set[str] = set()
        for key in filter(lambda key: isinstance(key, yaml.ScalarNode), keys):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parse_yaml(text: str, where: str) -> Any:
    """YAML as plain data; raises ValueError naming the place of a syntax error."""
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an impossible date, a huge integer
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = str(error).partition(";")[0] if type(error) is ValueError else ""
        problem = getattr(error, "problem", None) or said or "it cannot be read"
        raise ValueError(f"bad YAML in {where[:160]}{place}: {problem}") from None


def explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problem that pydantic found, in one line; of a number that is not finite, that it is not."""
    problems = error.errors()
    problem = next((p for p in problems if p["type"] == "finite_number"), problems[0])
    where = ".".join(str(part) for part in problem["loc"] if part not in KINDS)
    if problem["type"] == "extra_forbidden":
        *outer, key = problem["loc"]
        return f"unknown key {where!r}{nearest(str(key), known_keys(schema, outer))}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in OUT_OF_RANGE and where in schema.model_fields:
        message = allowed(schema.model_json_schema()["properties"][where])
    if problem["loc"][-1:] == ("bool",):  # the first of several kinds, of which none fits
        message = "it should be a number, a text, true, false or a list of such"
    value = repr(problem["input"])
    size = len(problem["input"]) if isinstance(problem["input"], str) else len(value)
    shown = value if len(value) <= 80 else f"{value[:60]}... ({size} characters)"
    return f"{where}: {message} (got {shown})" if where else message


def known_keys(schema: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Names that are known at a place within a schema; where it may have several forms, the place says which."""
    found = [schema]
    for part in place:
        fields = [model.model_fields[part] for model in found if part in model.model_fields]
        tagged = [model for model in found if any(f.default == part for f in model.model_fields.values())]
        found = [model for f in fields for model in models_of(f.annotation)] or tagged or found
    return [name for model in found for name in model.model_fields]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The schemas inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_of(argument)]
