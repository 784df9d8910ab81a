"""Files that survive a crash at any moment: whole or absent, journals whose torn end is ignored, one writer each."""

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
    """Keep other processes from writing to a folder, which is made as needed; a dead process keeps nothing.

    If a `journal` is named, a folder that was made goes again where the work fails before that file is there. Raises
    ValueError if another process has it, or if it cannot be written to.
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
    """Raise ValueError if no file could be made in a folder, which may be missing; leaves no trace."""
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
    """The error of a command that cannot write to its folder."""
    return ValueError(f"cannot write to {str(folder)[:160]} ({error.strerror or error}); take another --out")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; folders are made as needed. An OSError names the file."""
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
    """Whether a file is what a kill in the middle of `write_atomic` left."""
    return path.name.startswith(".") and path.name.endswith(".part")


def held(folder: Path) -> set[str]:
    """Names of what a folder holds, less what only marks its writer."""
    return {path.name for path in folder.glob("*") if path.name != LOCK and not is_part(path)}


def sweep(folder: Path) -> None:
    """Remove such files; for the one process that writes to a folder."""
    for path in filter(is_part, folder.rglob("*")):
        path.unlink()


def append_line(path: Path, data: Any) -> None:
    """Append one JSON line to a journal, first cutting off a line that a crash left unfinished."""
    with path.open("a+b") as file:
        file.seek(-min(1, file.tell()), os.SEEK_END)
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(data, allow_nan=False, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path, fields: Set[str], what: str) -> list[dict[str, Any]]:
    """The finished lines of a journal of objects with at least some fields.

    A torn last line is ignored; any other damage raises ValueError, which says that a line is no `what`.
    """
    try:
        lines = read_lines(path)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: a line is not JSON. Take another --out, or delete the folder") from None
    if not all(isinstance(line, dict) and line.keys() >= fields for line in lines):
        raise ValueError(f"{path} is damaged: a line is no {what}. Take another --out, or delete the folder")
    return lines


def read_lines(path: Path) -> list[Any]:
    """All finished lines of a journal; none if there is no file."""
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
