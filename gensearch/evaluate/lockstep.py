"""Searches on several prompts in lockstep: calls that all of them wait for are joined into one call of the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import torch

from gensearch.evaluate.joint import Answer, Call, Joint

T = TypeVar("T")
Ask = Callable[[Call], Any]  # hands a call over and returns what the network returned


class Halt(BaseException):
    """Ends a search whose answer will never come."""


class Lane(Generic[T]):
    """One search in a thread of its own, which runs only while `step` waits for it: lanes never run at once.

    Args:
        work: The search; it hands each call that can be joined to the function that it is given.
    """

    def __init__(self, work: Callable[[Ask], T]) -> None:
        self.outcome: T | Exception
        self.seconds = 0.0
        self._work, self._threads = work, torch.get_num_threads()
        self._answers, self._calls = SimpleQueue[Answer](), SimpleQueue[Call | None]()
        Thread(target=self._run, daemon=True).start()

    def step(self, answer: Answer = None) -> Call | None:
        """Go on with the answer to the last call; the next call, or None at the end.

        Args:
            answer: What the last call returned, or the exception that it raised; None at the beginning.
        """
        began = time.perf_counter()
        self._answers.put(answer)
        call = self._calls.get()
        self.seconds += time.perf_counter() - began
        return call

    def halt(self) -> None:
        """Let the thread end; one that has ended already does not notice."""
        self._answers.put(Halt())

    def _ask(self, call: Call) -> Any:
        self._calls.put(call)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self) -> None:
        if isinstance(self._answers.get(), Halt):
            return
        torch.set_num_threads(self._threads)  # each thread has a count of its own
        try:
            self.outcome = self._work(self._ask)
        except Exception as error:
            self.outcome = error
        except Halt:
            return
        self._calls.put(None)


def lockstep(works: Sequence[Callable[[Ask], T]], joint: Joint) -> list[tuple[T | Exception, float]]:
    """Run searches side by side, and their calls together once every search that goes on has one.

    Everything runs in a fixed order, one piece at a time, so that the result does not depend on how threads are
    scheduled. Networks run in the thread of the caller.

    Args:
        works: The searches.
        joint: Runs their calls.

    Returns:
        For each search what it returned or the exception that it raised, and its seconds: its own, and of joined calls
        the share of its rows.
    """
    lanes = [Lane(work) for work in works]
    try:
        waiting = {index: call for index, lane in enumerate(lanes) if (call := lane.step())}
        while waiting:
            answers = joint.run(list(waiting.values()))
            going = zip(list(waiting), answers, strict=True)
            waiting = {}
            for index, (answer, seconds) in going:
                lanes[index].seconds += seconds
                if call := lanes[index].step(answer):
                    waiting[index] = call
        return [(lane.outcome, lane.seconds) for lane in lanes]
    finally:
        for lane in lanes:
            lane.halt()
