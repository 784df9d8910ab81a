"""Crash-safe files: atomic writes, journals whose incomplete last line is ignored, and one writer per folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryFile
from typing import Any

LOCK = ".lock"


@contextmanager
def owned(folder: Path, journal: str = "") -> Iterator[None]:
    """Lock a folder against other processes; the lock ends with the process.

    Args:
        folder: made as needed.
        journal: name of a file in it; if the folder was made and the work fails before this file is there, the folder
            is removed again.

    Raises:
        ValueError: if another process holds the lock, and if the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, blocking=False)
        lock.acquire()
    except Timeout:
        raise ValueError(f"another process is writing to {folder}; wait for it or take another --out") from None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    except Exception:
        if journal and made and not (folder / journal).exists():
            rmtree(folder, ignore_errors=True)
        raise
    finally:
        lock.release()


def require_writable(folder: Path) -> None:
    """Check that a file could be made in a folder; changes nothing.

    Args:
        folder: it may not exist yet.

    Raises:
        ValueError: if it cannot be written to.
    """
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise unwritable(folder, error) from error
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        TemporaryFile(dir=there).close()
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> ValueError:
    """Return the error of a command that cannot write to its folder.

    Args:
        folder: of the command.
        error: of the operating system.
    """
    return ValueError(f"cannot write to {str(folder)[:160]} ({error.strerror or error}); take another --out")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: after a crash it is there whole or not at all.

    Args:
        path: of the file; folders are made as needed.
        content: of the file.

    Raises:
        OSError: with the path of the file, if it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except Exception as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


def is_part(path: Path) -> bool:
    """Return whether a file is a leftover of an interrupted `write_atomic`.

    Args:
        path: of the file.
    """
    return path.name.startswith(".") and path.name.endswith(".part")


def held(folder: Path) -> set[str]:
    """Return the names in a folder, without its lock and leftovers of interrupted writes.

    Args:
        folder: it may not exist.
    """
    return {path.name for path in folder.glob("*") if path.name != LOCK and not is_part(path)}


def sweep(folder: Path) -> None:
    """Remove leftovers of interrupted writes.

    Args:
        folder: owned by this process.
    """
    for path in filter(is_part, folder.rglob("*")):
        path.unlink()


def append_line(path: Path, data: object) -> None:
    """Append one line to a journal, after removing an incomplete last line.

    Args:
        path: of the journal.
        data: JSON data; NaN and infinity are refused.

    Raises:
        ValueError: for data that JSON cannot represent.
    """
    with path.open("a+b") as file:
        file.seek(-min(1, file.tell()), os.SEEK_END)
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(data, allow_nan=False, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path, fields: Set[str], what: str) -> list[dict[str, Any]]:
    """Return the complete lines of a journal of objects; an incomplete last line is ignored.

    Args:
        path: of the journal; without a file there are no lines.
        fields: that every object must have.
        what: one object is, for the error message.

    Raises:
        ValueError: for a line that is not JSON, or not an object with these fields.
    """
    try:
        lines = read_lines(path)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: a line is not JSON. Take another --out, or delete the folder") from None
    if not all(isinstance(line, dict) and line.keys() >= fields for line in lines):
        raise ValueError(f"{path} is damaged: a line is no {what}. Take another --out, or delete the folder")
    return lines


def read_lines(path: Path) -> list[Any]:
    """Return the complete lines of a journal as JSON data.

    Args:
        path: of the journal; without a file there are no lines.

    Raises:
        ValueError: for a line that is not JSON.
    """
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
