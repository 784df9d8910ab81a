"""Anything that scores as a verifier: functions, classes and modules are adapted, and what they return is checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from verifiers.types import Media, Scores, Verifier

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Adapted:
    """A verifier made of an object that scores but lacks a name, `differentiable` or `progress`.

    Other members, such as `batch_size` or `model`, are those of the object.

    Args:
        given: called as (media, prompts), as (media) if it takes no more, and with `progress` if it takes that.
        name: the verifier's name.

    Raises:
        ValueError: it cannot be called so.
    """

    def __init__(self, given: Callable[..., Any], name: str) -> None:
        self.given, self.name = given, name
        self.differentiable = bool(getattr(given, "differentiable", False))
        self.takes, self.with_progress = arguments(given, name)
        if isinstance(given, nn.Module):
            self.model = given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("given", "terms"):  # a sum would be taken apart and called as a whole
            raise AttributeError(name)
        return getattr(self.given, name)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media; arguments as for every verifier."""
        more = {"progress": progress} if self.with_progress else {}
        return scores_of(self.name, self.given(*(media, prompts)[: self.takes], **more), media)


def as_verifier(given: Any, name: str = "") -> Verifier:
    """Return an object as a verifier: as it is if it has all members of one, else adapted.

    Args:
        given: a verifier, a function of (media, prompts), a module, or a class that is made without arguments.
        name: what to call it; its own name, or that of its function or class, if empty.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(given, type):
        given = made(given)
    if not callable(given):
        raise ValueError(
            f"verifier {given!r} is none; give a name, such as 'shapes/clip', or something that can be called as "
            "(media, prompts)"
        )
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__):
        raise ValueError(f"the verifier {title(given)} is async; give a plain function, which may run it to its end")
    own = getattr(given, "name", None)
    if own is not None and not (isinstance(own, str) and own.isprintable()):
        raise ValueError(
            f"the name of the verifier {title(given)} is {own!r}; give it a text without control characters as its name"
        )
    size = getattr(given, "batch_size", None)
    if size is not None and not (isinstance(size, int | np.integer) and size >= 1):
        raise ValueError(
            f"the batch_size of the verifier {own or title(given)} is {size!r}; give an integer of 1 or more, or leave "
            "it out to score all samples of a round in one call"
        )
    if own and not name and isinstance(getattr(given, "differentiable", None), bool) and arguments(given, own)[1]:
        return cast(Verifier, given)
    return Adapted(given, name or own or title(given))


def title(given: Any) -> str:
    """Return the name of a function or class; that of a lambda ends with its line.

    Args:
        given: any object that can be called.
    """
    while hasattr(given, "func"):  # functools.partial
        given = given.func
    named = getattr(given, "__name__", "") or type(given).__name__
    return f"lambda-{given.__code__.co_firstlineno}" if named == "<lambda>" else str(named)


def arguments(given: Callable[..., Any], name: str) -> tuple[int, bool]:
    """Return how many of (media, prompts) an object takes, and whether it takes `progress`.

    Args:
        given: can be called.
        name: of the verifier, for the error.

    Raises:
        ValueError: it takes neither, or needs more.
    """
    try:
        parameters = inspect.signature(given.forward if isinstance(given, nn.Module) else given).parameters
    except (TypeError, ValueError):  # written in C
        return 2, False
    own = [p for p in parameters.values() if p.name != "progress"]
    positional = [p for p in own if p.kind in POSITIONAL]
    takes = 2 if any(p.kind is p.VAR_POSITIONAL for p in own) else min(len(positional), 2)
    needed = [p.name for p in own if p.default is p.empty and (p in positional[2:] or p.kind is p.KEYWORD_ONLY)]
    if not takes or needed:
        problem = f"needs {', '.join(needed)} as well" if needed else "takes no media"
        raise ValueError(
            f"the verifier {name} {problem}; a verifier is called as (media, prompts), and with progress= if it takes "
            "that. Give the others a default"
        )
    progress = parameters.get("progress")
    keyword = progress is not None and progress.kind is not progress.POSITIONAL_ONLY
    return takes, keyword or any(p.kind is p.VAR_KEYWORD for p in own)


def made(build: Callable[..., Any], device: Any = "cpu") -> Any:
    """Return what a class or builder makes.

    Args:
        build: takes nothing, or `device`.
        device: where networks run.

    Raises:
        ValueError: it needs arguments.
    """
    try:
        parameters = inspect.signature(build).parameters
        more = {"device": device} if "device" in parameters else {}
        inspect.signature(build).bind(**more)
    except (TypeError, ValueError):
        raise ValueError(
            f"{title(build)} needs arguments, so it is no verifier yet; give an instance of it, or a function without "
            "arguments that makes one"
        ) from None
    return build(**more)


# --- what verifiers return


def ask(verifier: Verifier, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
    """Return the scores of a verifier, checked; it gets a copy of the media, which it may change.

    Args:
        verifier: any.
        media: pictures or clips [b, ...]; gradients flow through the copy.
        prompts: b prompts.
        progress: share of the samples that is generated, in (0, 1].

    Raises:
        ValueError: it returned no scores.
        RuntimeError: it raised what would end a program or a generator without a word.
    """
    return scores_of(verifier.name, contained(verifier, media.clone(), list(prompts), progress), media)


def contained(verifier: Verifier, media: Media, prompts: list[str], progress: float) -> Any:
    """Return what a verifier returns; torch's default dtype, threads and gradient mode stay as they were.

    Args:
        verifier: any.
        media: pictures or clips [b, ...], of its own.
        prompts: b prompts, of its own.
        progress: share of the samples that is generated, in (0, 1].

    Raises:
        RuntimeError: it raised SystemExit, StopIteration or GeneratorExit.
    """
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    try:
        return verifier(media, prompts, progress=progress)
    except (SystemExit, StopIteration, GeneratorExit) as error:
        what = f"{type(error).__name__}({error})"
        raise RuntimeError(
            f"the verifier {verifier.name} raised {what}; let it return scores or raise an error"
        ) from error
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def scores_of(name: str, returned: Any, media: Media) -> Scores:
    """Return what a verifier returned as Scores.

    Args:
        name: of the verifier, for errors.
        returned: Scores, or numbers in a tensor, array or list: one for each sample.
        media: what was scored.

    Raises:
        ValueError: it is none of these, or has not one number for each sample.
    """
    total, parts = (returned.total, returned.parts) if hasattr(returned, "total") else (returned, {})
    if parts is not None and not isinstance(parts, Mapping):
        raise ValueError(
            f"the verifier {name} returned {type(parts).__name__} as parts; return a mapping of names to scores"
        )
    numbers = column(f"the verifier {name}", total, media)
    found = {str(key): column(f"the part {key!r} of {name}", value, media) for key, value in (parts or {}).items()}
    return Scores(numbers, {key: value.detach() for key, value in found.items()})


def column(whose: str, values: Any, media: Media) -> Tensor:
    """Return numbers as a float tensor [b] on the device of the media; whole numbers and truth values become floats.

    Args:
        whose: what errors call the source.
        values: a tensor, array or list of b numbers, None for one without a score; a single number if b is 1.
        media: what was scored, b samples.

    Raises:
        ValueError: these are not b real numbers.
    """
    rows = len(media)
    try:
        found: Tensor | None = tensor(values)
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is not None and (found.is_meta or found.layout is not torch.strided):
        found = None  # it holds no numbers that could be read
    shape = None if found is None else tuple(found.shape)
    fits = shape is not None and (
        shape == (rows,) or shape == (rows, *(1,) * (len(shape) - 1)) or {rows, *shape} == {1}
    )
    if found is None or not fits or found.is_complex():
        what = type(values).__name__ if found is None or found.is_complex() else str(list(found.shape))
        raise ValueError(
            f"{whose} returned {what} for {rows} samples; return Scores whose total has one number for each, NaN for "
            "those without a score"
        )
    exact = torch.float32 if media.device.type == "mps" else torch.float64  # also for large counts
    return (found if found.is_floating_point() else found.cpu().to(exact)).reshape(rows).to(media.device)


def tensor(values: Any) -> Tensor:
    """Return numbers as a tensor, those of Python in double precision; a list of tensors keeps its gradients.

    Args:
        values: a tensor, an array, a number, or a list of them.

    Raises:
        TypeError: these are no numbers.
        ValueError: a list holds sequences of different lengths.
        RuntimeError: tensors in a list have more than one number each.
    """
    if isinstance(values, Tensor):
        return values
    if isinstance(values, list | tuple):
        if values and all(isinstance(value, Tensor) for value in values):
            return torch.stack([value.reshape(()) for value in values])
        values = [np.nan if value is None else value for value in values]
    return torch.as_tensor(np.asarray(values))
