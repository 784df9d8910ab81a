"""One pipeline call driven step by step from outside: a worker thread that waits inside every scheduler step."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gensearch.models.pipelines import LIVE
from gensearch.models.probed.probe import Step, probe

IDS = itertools.count()


class Cancelled(BaseException):
    """Unwinds a pipeline from inside its scheduler; no pipeline catches it."""


class Order(NamedTuple):
    """How to take the step that the worker waits in.

    Attributes:
        rows: Sample rows[i] goes to row i first; None leaves them.
        noise: [b, *] for a scheduler that draws, no rows for others.
    """

    rows: Sequence[int] | None
    noise: Tensor


class Call:
    """A pipeline call that waits inside every scheduler step until it gets an order.

    `first` starts it and returns the first step, `go` the next one, or what the pipeline returned. Nothing runs before
    `first`, so that hooks which count passes can be set. Dropping the last reference closes it: the pipeline unwinds,
    the thread ends, and the pipeline is as it was.

    Args:
        pipeline: Of diffusers.
        prompts: Of every slot.
        run: Calls the pipeline.
    """

    def __init__(self, pipeline: Any, prompts: Sequence[str], run: Callable[[], Tensor]) -> None:
        self.id = next(IDS)
        self.prompts = prompts  # of every slot
        self.taken = 0  # scheduler steps
        self.owner = threading.current_thread()
        orders: SimpleQueue[Order | None] = SimpleQueue()
        reports: SimpleQueue[Step | Tensor | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=work, args=(pipeline, run, orders, reports), daemon=True)
        self._orders, self._reports = orders, reports
        self.close = weakref.finalize(self, stop, orders, self._thread)
        LIVE[pipeline] = weakref.ref(self)

    def first(self) -> Step | Tensor:
        """Start the call and wait for its first scheduler step."""
        self._thread.start()
        return self._report()

    def go(self, order: Order) -> Step | Tensor:
        """Take the step that the worker waits in, and wait for the next one or for what the pipeline returns.

        Args:
            order: How to take it.
        """
        self.owner = threading.current_thread()
        self.taken += 1
        self._orders.put(order)
        return self._report()

    def _report(self) -> Step | Tensor:
        try:
            report = self._reports.get()
        except BaseException:  # Ctrl-C while the network runs: unwind at its next step
            self.close()
            raise
        if isinstance(report, BaseException):
            self.close()
            raise report
        if not isinstance(report, Step):
            self.close()
        return report


def first_step(pipeline: Any, run: Callable[[], Any]) -> Step:
    """Run a pipeline call up to and including its first scheduler step.

    Args:
        pipeline: Of diffusers.
        run: Calls it.

    Raises:
        ValueError: It never calls `scheduler.step`.
    """
    steps: list[Step] = []

    def visit(step: Step) -> None:
        step.take(noise=torch.zeros_like(step.x))
        steps.append(step)
        raise Cancelled

    with suppress(Cancelled), probe(pipeline.scheduler, visit):
        run()
    pipeline.maybe_free_model_hooks()
    if not steps:
        raise ValueError(f"{type(pipeline).__name__} never calls scheduler.step; use BlackBox instead")
    return steps[0]


def work(
    pipeline: Any,
    run: Callable[[], Tensor],
    orders: SimpleQueue[Order | None],
    reports: SimpleQueue[Step | Tensor | BaseException],
) -> None:
    """The worker: report every step, wait for an order, report the end; it holds no reference to its `Call`.

    Args:
        pipeline: Of diffusers.
        run: Calls it.
        orders: In; None ends the call.
        reports: Out: steps, and last what the pipeline returned or raised.
    """

    worker = threading.current_thread()

    def visit(step: Step) -> None:
        if threading.current_thread() is not worker:  # it has already reset the scheduler under the waiting call
            orders.put(None)
            raise RuntimeError(
                f"{type(pipeline).__name__} was called while a search waited inside it, which ends that search; "
                "call it again, or load a second pipeline"
            )
        reports.put(step)
        order = orders.get()
        if order is None:
            raise Cancelled
        step.take(order.rows, order.noise)

    try:
        with probe(pipeline.scheduler, visit):
            made = run()
    except Cancelled:
        pipeline.maybe_free_model_hooks()
        reports.put(RuntimeError(f"the call of {type(pipeline).__name__} was ended from outside; start again"))
    except BaseException as error:
        reports.put(error)
    else:
        reports.put(made)


def stop(orders: SimpleQueue[Order | None], thread: threading.Thread) -> None:
    """End a worker at its next scheduler step and wait for it.

    Args:
        orders: Of the worker.
        thread: Which may never have started.
    """
    orders.put(None)
    if thread.ident is not None:
        thread.join()
