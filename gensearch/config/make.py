"""One config from a preset, the options of a command and `a.b=c` texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gensearch.config.run import RunConfig, validate
from gensearch.config.yaml import read_preset
from verifiers.yaml import parse_yaml


def make_config(config: str | None = None, sets: Sequence[str] = (), **given: Any) -> RunConfig:
    """A config from a preset or YAML file and from what is given beside it; later sources win.

    Mappings (`knobs`, `options`) are merged key by key. A knob that bounds the search replaces a preset's `compute`,
    unless that is asked for too.

    Args:
        config: A preset's name or the path of a YAML file; None for none.
        sets: Texts such as `compute=8` or `knobs.n=4`, which win over everything.
        given: Fields by name; None leaves one to the preset or its default.

    Raises:
        ValueError: In one line that names the field, the rule and the nearest known name.
    """
    data = {} if config is None else read_preset(config)
    if given.get("verifiers"):  # a panel replaces the roles of a preset
        data = {name: value for name, value in data.items() if name not in ("verifier", "select", "holdout")}
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
    from gensearch.search import find
    from gensearch.search.knobs import bounded

    search = find(str(data.get("search", RunConfig.model_fields["search"].default)))
    return bounded(search, {k: v for k, v in entries(data, "knobs").items() if f"knobs.{k}" in given})


def split(text: str, option: str, example: str) -> tuple[str, Any]:
    """`key=value` with the value read as YAML.

    Args:
        text: What was given.
        option: The flag that it was given to, for errors.
        example: How it could look, for errors.

    Raises:
        ValueError: It has another form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise ValueError(f"cannot read {option} {text!r}; write it as {example}")
    return key.strip(), parse_yaml(value, f"{option} {text!r}")


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a field, or one entry of a mapping.

    Args:
        data: Fields by name, which is changed.
        key: `field`, or `knobs.name` and `options.name`.
        value: Plain data.

    Raises:
        ValueError: The field has no entries of its own.
    """
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
