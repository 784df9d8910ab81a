"""Answers of remote critics on disk, by the hash of the request, so that a killed run goes on without paying again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


class Cache:
    """A folder of answers, shared by processes.

    A file is written beside its place and then moved there, so that readers see the old state or the new one. A file
    that is torn or damaged counts as missing. Without write access nothing is kept, and nothing fails.

    Args:
        folder: where the answers are; made as needed. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> Any:
        """Return what was kept under a key; None if there is nothing, or nothing whole.

        Args:
            key: as `digest` returns it.
        """
        if self.folder is None:
            return None
        try:
            line = json.loads(self._path(key).read_text(encoding="utf-8"))
            whole = line["key"] == key and line["sha256"] == digest(line["answer"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return line["answer"] if whole else None

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer.

        Args:
            key: as `digest` returns it.
            answer: plain data.
        """
        if self.folder is None:
            return
        path = self._path(key)
        text = json.dumps({"key": key, "sha256": digest(answer), "answer": answer})
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"


def digest(data: Any) -> str:
    """Return the SHA-256 of plain data, 64 hexadecimal digits; the order of keys does not matter.

    Args:
        data: anything that JSON can hold.
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def default_folder() -> Path:
    """Return where answers are kept: `gensearch/critics` in XDG_CACHE_HOME, or else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gensearch" / "critics"
