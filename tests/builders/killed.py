"""Evaluations of the dice that are killed at moments of their choice, each time in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gensearch.cli import evaluate as command
from gensearch.evaluate import runner
from tests.builders import dice

EVENTS = [(dice.Number, "__call__"), (dice.Judge, "__call__"), (os, "fsync"), (Path, "replace"), (sqlite3, "connect")]


def small() -> Any:
    """A plan of twelve blocks with candidates."""
    return dice.plan(block=3, candidates=True)


def counted(then: Callable[[int], None]) -> None:
    """Call a function with the number of each event: a score, a verdict, a write to the disk, or half a line of one."""
    count = iter(range(10**9))
    for owner, name in EVENTS:
        own = getattr(owner, name)

        def watched(*args: Any, _own: Any = own, **kwargs: Any) -> Any:
            then(next(count))
            return _own(*args, **kwargs)

        setattr(owner, name, watched)
    module: Any = runner
    append = module.append_line

    def torn(path: Path, data: Any) -> None:
        class Half:
            def __call__(self) -> None:
                with path.open("ab") as file:
                    file.write(b'{"method": "ba')

        half.append(Half())
        then(next(count))
        half.clear()
        append(path, data)

    module.append_line = torn


half: list[Callable[[], None]] = []


def forked(work: Callable[[], None]) -> int:
    """The status of a child process that does some work."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def killed(folder: Path, moment: int) -> None:
    """Evaluate until the moment of that number."""

    def die(now: int) -> None:
        if now == moment:
            for write in half:
                write()
            os.kill(os.getpid(), signal.SIGKILL)

    counted(die)
    command.finish(small(), dice.DICE, folder, 1)


def main(folder: str, kills: str, seed: str) -> None:
    """An undisturbed evaluation, and one that is killed so often, at random moments; the kills are printed."""
    warnings.simplefilter("error")
    root, draw = Path(folder), random.Random(int(seed))

    def calm() -> None:
        def note(now: int) -> None:
            (root / "events").write_text(str(now + 1))

        counted(note)
        command.finish(small(), dice.DICE, root / "calm", 1)

    forked(calm)
    total, died = int((root / "events").read_text()), 0
    for _ in range(int(kills)):
        moment = draw.randrange(2 * total // int(kills))
        died += os.WIFSIGNALED(forked(lambda moment=moment: killed(root / "rough", moment)))  # type: ignore[misc]
    command.finish(small(), dice.DICE, root / "rough", 1)
    print(f"killed {died} of {kills}, {total} events")


if __name__ == "__main__":
    main(*sys.argv[1:])
