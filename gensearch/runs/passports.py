"""Passports of verifiers: what `gensearch verifiers check` found, kept for reports and lists."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gensearch.files.atomic import write_atomic


def folder() -> Path:
    """Where passports are kept: GENSEARCH_CACHE, or gensearch/ in the user's cache, which XDG_CACHE_HOME names."""
    root = os.environ.get("GENSEARCH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "gensearch")
    return Path(root).expanduser() / "passports"


def write(passport: dict[str, Any], out: Path | None = None) -> Path:
    """Keep a passport, and return its file.

    Args:
        passport: With `verifier` and `on`, what it was checked on.
        out: The file; None for the one in the cache.
    """
    path = out or folder() / f"{quote(passport['verifier'], safe='')}@{quote(passport['on'], safe='')}.json"
    write_atomic(path, json.dumps(passport, indent=1, allow_nan=False).encode())
    return path


def stored(verifier: str) -> list[dict[str, Any]]:
    """The passports of a verifier in the cache, one for each thing that it was checked on; damaged ones do not count.

    Args:
        verifier: Its name.
    """
    found = []
    for path in sorted(folder().glob("*.json")) if folder().is_dir() else ():
        try:
            data = json.loads(path.read_bytes())
            if data["verifier"] == verifier and sentence(data):
                found.append(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def sentence(passport: dict[str, Any]) -> str:
    """What a passport says first: what it was checked on, and its accuracy on pairs.

    Args:
        passport: As `write` keeps it.
    """
    gains = passport.get("best_of") or {}
    ends = list(gains.items())
    more = f"; best of {ends[-1][0]}: {ends[0][1]['mean']:.3f} to {ends[-1][1]['mean']:.3f} right" if gains else ""
    return f"{passport['on']}: {interval_text(passport['accuracy'])} of pairs ordered rightly{more}"


def interval_text(value: dict[str, Any]) -> str:
    """A mean with its interval, as far as they are known.

    Args:
        value: `mean`, `low` and `high`, each a number or None.
    """
    if value["mean"] is None:
        return "unknown"
    known = value["low"] is not None
    return f"{value['mean']:.3f}" + (f" [{value['low']:.3f}, {value['high']:.3f}]" if known else "")
