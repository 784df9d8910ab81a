"""Observe and change every scheduler step of a diffusers pipeline without changing the pipeline's code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gensearch.models.probed.clean_estimate import clean_estimate

DECODE_CLEAN = ("LCMScheduler", "SCMScheduler")  # their pipelines decode step()[1] and never the last x_{t-1}


class Draws(TorchFunctionMode):
    """Makes `torch.randn` in this thread return given noise, in order, whatever generator is passed.

    A scheduler may draw it in one piece or, with a list of generators, row by row. `used` counts rows.

    Args:
        noise: [b, *], standard normal.

    Raises:
        ValueError: More is drawn than was given.
    """

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.noise = noise
        self.used = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn:
            return func(*args, **kwargs)
        shape = torch.Size(args[0])
        rows = self.noise[self.used : self.used + shape[0]]
        if rows.numel() != shape.numel():
            raise ValueError(
                f"the scheduler asks for noise of shape {tuple(shape)} after {self.used} rows; it was given "
                f"{tuple(self.noise.shape)}, for one draw per step. Use another scheduler"
            )
        self.used += shape[0]
        return rows.reshape(shape).to(device=kwargs.get("device"), dtype=kwargs.get("dtype"))


@dataclass
class Step:
    """One scheduler step: its arguments and, once taken, its result.

    Assigning to `previous` replaces x_{t-1}, and the clean estimate too if that is what the pipeline decodes.

    Attributes:
        scheduler: Whose step it is.
        model_output: [b, *], after guidance.
        timestep: As the pipeline passed it.
        x: x_t, [b, *].
        clean: x0, [b, *].
        call: The arguments.
        original: The scheduler's own `step`.
        output: What it returned; None before.
        drew: Whether it used the noise that `take` was given.
    """

    scheduler: Any
    model_output: Tensor
    timestep: Any
    x: Tensor
    clean: Tensor
    call: inspect.BoundArguments
    original: Callable[..., Any]
    output: Any = None
    drew: bool = False

    def take(self, rows: Sequence[int] | None = None, noise: Tensor | None = None) -> None:
        """Let the scheduler step.

        Args:
            rows: Puts sample rows[i] into row i first, with the history of a multistep solver.
            noise: [b, *], replaces every random number that the scheduler draws.
        """
        if rows is not None:
            index = torch.as_tensor(rows, device=self.x.device)
            gather_history(self.scheduler, index, self.x.shape)
            for name in ("model_output", "sample"):
                self.call.arguments[name] = self.call.arguments[name][index]
        with Draws(noise) if noise is not None else nullcontext() as draws:
            self.output = self.original(*self.call.args, **self.call.kwargs)
        self.drew = draws is not None and draws.used > 0

    @property
    def previous(self) -> Tensor:
        """x_{t-1} [b, *]."""
        sample: Tensor = self.output[0]
        return sample

    @previous.setter
    def previous(self, value: Tensor) -> None:
        names = ["denoised", "pred_original_sample"] if type(self.scheduler).__name__ in DECODE_CLEAN else []
        if isinstance(self.output, tuple):
            kept = self.output[1 + bool(names) :]
            self.output = (value, *([value] if names else []), *kept)
        else:
            for name in ["prev_sample", *names]:
                if name in self.output:
                    self.output[name] = value


def gather_history(scheduler: Any, index: Tensor, shape: torch.Size) -> None:
    """Rearrange the rows of every sample-shaped tensor that a multistep solver keeps.

    Args:
        scheduler: The solver.
        index: The row that each row comes from, [b].
        shape: Of the samples.

    Raises:
        ValueError: The solver has a noise process of its own, which cannot be rearranged.
    """
    if getattr(scheduler, "noise_sampler", None) is not None:
        raise ValueError(
            f"{type(scheduler).__name__} keeps a noise process per sample that cannot follow rows which are copied; "
            "use DPMSolverMultistepScheduler with algorithm_type='sde-dpmsolver++' instead"
        )

    def gather(value: Any) -> Any:
        if isinstance(value, Tensor) and value.shape == shape:
            return value[index.to(value.device)]
        return [gather(v) for v in value] if isinstance(value, list) else value

    for name, value in vars(scheduler).items():
        setattr(scheduler, name, gather(value))


@contextmanager
def probe(scheduler: Any, visit: Callable[[Step], None]) -> Iterator[None]:
    """Call a function on every step that a scheduler or a deep copy of it takes.

    The class is replaced by a subclass of the same name, because a copy would not keep an attribute of the instance; it
    is restored at the end, also after an exception.

    Args:
        scheduler: Of a pipeline.
        visit: Takes a Step; if it does not call `take`, the probe does, and no bit changes.
    """
    real: Any = type(scheduler)
    signature = inspect.signature(real.step)

    @functools.wraps(real.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, *args, **kwargs)
        given = call.arguments
        clean = clean_estimate(self, given["model_output"], given["timestep"], given["sample"])
        visited = Step(self, given["model_output"], given["timestep"], given["sample"], clean, call, real.step)
        visit(visited)
        if visited.output is None:
            visited.take()
        return visited.output

    ours: Any = type(real.__name__, (real,), {"step": step, "__module__": real.__module__, "over": False})
    scheduler.__class__ = ours
    try:
        yield
    finally:
        ours.over = True
        kind = type(scheduler)
        while vars(kind).get("over"):  # probes of pipelines that share a scheduler may end in any order
            kind = kind.__bases__[0]
        scheduler.__class__ = kind
