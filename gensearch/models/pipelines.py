"""What adapters share about diffusers pipelines: device, fingerprint, counted passes, arguments, exclusive use."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gensearch.core.noise import SEED_BITS
from gensearch.core.types import Noise
from gensearch.models.fingerprint import attention, backends, component_hashes, instruction_set, versions

DENOISERS = ("unet", "transformer", "transformer_2")
TEXTS = {"prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"}  # one for each row
LOCKS: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
LIVE: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


class Wrapped:
    """A diffusers pipeline, or None, behind an adapter, with its device and its hashes cached.

    Wrap the pipeline again after moving it or changing its networks.

    Attributes:
        pipeline: None if the generator is another callable.
    """

    pipeline: Any

    @cached_property
    def device(self) -> torch.device:
        """Where the networks run; cached, since a pipeline walks through all its modules to find it."""
        return getattr(self.pipeline, "_execution_device", torch.device("cpu"))

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {} if self.pipeline is None else component_hashes(self.pipeline)


@contextmanager
def counting(pipeline: Any) -> Iterator[list[int]]:
    """Count rows through a pipeline's denoisers, by hooks, in the first item of a list.

    Args:
        pipeline: Or None, in which nothing is counted.
    """
    rows = [0]

    def count(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows[0] += next(len(v) for v in (*args, *kwargs.values()) if isinstance(v, Tensor | list))

    modules = [m for n in DENOISERS if (m := getattr(pipeline, n, None)) is not None]
    hooks = [module.register_forward_pre_hook(count, with_kwargs=True) for module in modules]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def label(source: Any) -> str:
    """A readable name: where a pipeline came from, or the name of a callable."""
    path = getattr(getattr(source, "config", None), "get", lambda _: None)("_name_or_path")
    return str(path or getattr(source, "__name__", type(source).__name__))


def describe(model: Any, pipeline: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that all adapters share.

    Args:
        model: The adapter.
        pipeline: What it wraps, or None.
        settings: Of the pipeline's call.
    """
    found: dict[str, Any] = {"adapter": type(model).__name__, "model": model.name}
    if pipeline is not None:
        found |= {
            "pipeline": type(pipeline).__name__,
            "scheduler": type(pipeline.scheduler).__name__,
            "scheduler_config": {k: repr(v) for k, v in sorted(pipeline.scheduler.config.items())},
            "settings": {k: repr(v) for k, v in sorted(settings.items())},
            "dtype": str(pipeline.dtype),
            "device": str(pipeline._execution_device),
            "attention": attention(pipeline),
        }
    here = {"threads": torch.get_num_threads(), "isa": instruction_set()}
    return {**found, **here, "versions": versions(), "backends": backends()}


def as_latents(pipeline: Any, noise: Noise, dtype: torch.dtype) -> Tensor:
    """Noise as the `latents=` of a pipeline.

    Kandinsky 5's text-to-video pipeline takes the channels of a first picture behind those of the noise: empty here.
    Its other pipelines get none, since they would begin with the empty picture instead of their own.

    Args:
        pipeline: Of diffusers.
        noise: [b, *noise_shape].
        dtype: Of the latents.
    """
    latents = noise.to(pipeline._execution_device, dtype)
    empty = type(pipeline).__name__ == "Kandinsky5T2VPipeline" and pipeline.transformer.visual_cond
    return pad(latents, (0, latents.shape[-1] + 1)) if empty else latents  # no picture, and a mask that says so


def for_rows(settings: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Settings for a list of prompts: a single text is repeated for each of them.

    Args:
        settings: Of a pipeline's call.
        rows: Prompts of the call.

    Raises:
        ValueError: Texts of a list differ; rows change their places in a batch, so that a text belongs to none of them.
    """
    given = dict(settings)
    for name in TEXTS & given.keys():
        texts = [given[name]] if isinstance(given[name], str) else given[name]
        if texts and any(text != texts[0] for text in texts):
            raise ValueError(f"{name} has {len(texts)} texts that differ; give one, which serves every row")
        given[name] = [texts[0]] * rows if texts else None
    return given


def generators(noise: Noise) -> list[torch.Generator]:
    """One generator per row, seeded by a digest of the row, so that equal noise means equal randomness.

    Args:
        noise: [b, *noise_shape].
    """
    digests = [hashlib.blake2b(row.float().cpu().numpy().tobytes(), digest_size=8).digest() for row in noise]
    return [torch.Generator().manual_seed(int.from_bytes(d) >> (64 - SEED_BITS)) for d in digests]


@contextmanager
def exclusive(pipeline: Any, *, new: bool = False) -> Iterator[None]:
    """Use a pipeline exclusively: two threads inside one pipeline give wrong pictures.

    Args:
        pipeline: Of diffusers.
        new: Whether a call begins, which ends one that this thread left unfinished.

    Raises:
        RuntimeError: Another thread is in the middle of a call.
    """
    with LOCKS.setdefault(pipeline, threading.RLock()):
        call = LIVE[pipeline]() if new and pipeline in LIVE else None
        if call is not None and call.close.alive:
            if call.owner is not threading.current_thread() and call.owner.is_alive():
                raise RuntimeError(
                    f"{type(pipeline).__name__} is in the middle of a call of thread {call.owner.name!r}; "
                    "finish or drop its state first, or load a second pipeline"
                )
            call.close()
        yield
