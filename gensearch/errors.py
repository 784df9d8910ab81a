"""How mistakes are said: one line that names the value, the rule and the nearest thing that exists."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error about a misspelt name: the closest known one, and all of them."""
    names = list(known)
    close = get_close_matches(name, names, 1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Known: {', '.join(names) or 'none'}."


def one_line(error: BaseException) -> str:
    """An error as one printable line of at most 600 characters; errors of unexpected kinds are named."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif not text or not isinstance(error, ValueError | ImportError | RuntimeError | OSError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 600 else f"{text[:599]}…"
