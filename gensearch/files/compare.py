"""Two fingerprints side by side: what differs because of the machine, and what makes it another model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MACHINE = ("device", "dtype", "threads", "isa", "versions", "backends")  # change the last bits, not what a model is
Changes = dict[str, tuple[Any, Any]]  # entries by dotted name: then, now


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Entries of two fingerprints that differ, nested ones by dotted names.

    Args:
        then: The recorded fingerprint.
        now: That of the model as it is.
    """
    old, new = flatten(then), flatten(now)
    return {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


def by_machine(changes: Changes) -> tuple[Changes, Changes]:
    """Changes of the machine (`MACHINE`: its device, libraries, threads ...), and changes of the model."""
    machine = {name: change for name, change in changes.items() if name.split(".")[0] in MACHINE}
    return machine, {name: change for name, change in changes.items() if name not in machine}


def in_words(changes: Changes) -> str:
    """Changes in words: "isa AVX512 then, AVX2 now; threads 4 then, 2 now"."""
    return "; ".join(f"{name} {shorten(then)} then, {shorten(now)} now" for name, (then, now) in changes.items())


def shorten(value: object, most: int = 80) -> str:
    """An entry as text of at most so many characters."""
    text = "not recorded" if value is None else str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one with dotted names.

    Args:
        data: a nested mapping.
        prefix: of the names.
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
