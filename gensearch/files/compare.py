"""Comparison of two fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MACHINE = ("device", "dtype", "threads", "isa", "versions", "backends")  # change the last bits, not what a model is


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the entries of two fingerprints that differ, dotted name -> (then, now).

    Args:
        then: a nested mapping.
        now: another one.
    """
    old, new = flatten(then), flatten(now)
    return {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


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
