"""Any callable or pipeline that maps prompts and noise to media, as a model of one step."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gensearch.core.noise import SEED_BITS, randn
from gensearch.core.types import Noise, State
from gensearch.models.clip_decoder import clip_by_clip
from gensearch.models.fingerprint import attention, backends, versions
from gensearch.models.options import Batch, Count, Shape, checked
from gensearch.models.pipelines import Wrapped
from gensearch.models.probed.stepper import exclusive
from verifiers.types import Media

DENOISERS = ("unet", "transformer", "transformer_2")
TEXTS = {"prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"}  # one for each row


class BlackBox(Wrapped):
    """A generator that can only be called whole: `start` is everything, `render` returns what it made.

    `source` is a callable (prompts, noise [b, *noise_shape]) -> media, or a diffusers pipeline with `latents=`, called
    with `settings`. Media may be PIL pictures, numpy arrays (channels last) or tensors. Construction calls it three
    times on `prompt` and raises ValueError if the noise does not decide the picture. `nfe` is what one sample costs;
    None measures a pipeline's denoiser and takes 1 for a callable. What it decodes is booked by `render`.
    """

    num_steps = 1
    stochastic = False
    verbs: frozenset[str] = frozenset()

    @checked
    def __init__(
        self,
        source: Any,
        noise_shape: Shape,
        *,
        batch_size: Batch = 1,
        nfe: Count | None = None,
        name: str | None = None,
        prompt: str = "a photo of a cat",
        **settings: Any,
    ) -> None:
        self.pipeline = source if hasattr(source, "components") else None
        if self.pipeline is None and settings:
            raise ValueError(f"settings {', '.join(settings)} are for pipelines; bind them to the callable instead")
        self.generate = pipeline_call(source, settings) if self.pipeline is not None else source
        self.noise_shape = tuple(noise_shape)
        self.batch_size = batch_size
        self.settings = settings
        self.name = name or label(source)
        with counting(self.pipeline) as passed:
            self._check(prompt)
        self.nfe_per_step = nfe or max(1, passed[0] // (3 * batch_size))

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Generate every row, in padded batches of `batch_size`."""
        media = torch.cat([self._batch(prompts[i:j], noise[i:j]) for i, j in spans(len(prompts), self.batch_size)])
        steps = torch.ones(len(prompts), dtype=torch.long)
        return State(tuple(prompts), steps, self.num_steps, noise, media, {})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Always raises ValueError: there is no second step."""
        raise ValueError(f"{self.name} makes the whole sample in `start`; there is no step to advance")

    def render(self, state: State) -> Media:
        """The media that `start` made."""
        return state.clean

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on, as far as can be seen from outside."""
        own = {"batch_size": self.batch_size, "nfe_per_step": self.nfe_per_step, "components": self._hashes}
        return {**describe(self, self.pipeline, self.settings), **own}

    def _batch(self, prompts: Sequence[str], noise: Noise) -> Media:
        if noise.shape[1:] != self.noise_shape:
            raise ValueError(f"{self.name} takes noise of shape {self.noise_shape}, not {tuple(noise.shape[1:])}")
        rows = fill(len(prompts), self.batch_size)
        return to_media(self.generate([prompts[r] for r in rows], noise[rows]))[: len(prompts)]

    def _check(self, prompt: str) -> None:
        noise = randn(range(2 * self.batch_size), self.noise_shape)
        prompts = [prompt] * self.batch_size
        first, again, other = (
            self._batch(prompts, n)
            for n in (noise[: self.batch_size], noise[: self.batch_size], noise[self.batch_size :])
        )
        if not torch.equal(first, again):
            raise ValueError(
                f"{self.name} gives another picture for the same noise: it draws random numbers of its own. "
                "Seed them from the noise, or switch to a deterministic scheduler"
            )
        if (first == other).flatten(1).all(1).any():
            raise ValueError(
                f"{self.name} gives the same picture for different noise: it ignores `latents`, so there is nothing "
                "to search over. Pass a callable that uses its noise"
            )


def pipeline_call(pipeline: Any, settings: dict[str, Any]) -> Callable[[Sequence[str], Noise], Any]:
    """A pipeline as a callable; step noise comes from generators seeded by each row's own noise."""
    accepted = inspect.signature(pipeline.__call__).parameters
    if "latents" not in accepted:
        raise ValueError(f"{type(pipeline).__name__} takes no `latents`; a search needs to choose the noise")

    def call(prompts: Sequence[str], noise: Noise) -> Any:
        given: dict[str, Any] = {"generator": generators(noise)} if "generator" in accepted else {}
        given |= {"latents": as_latents(pipeline, noise, pipeline.dtype), **for_rows(settings, len(prompts))}
        with exclusive(pipeline, new=True), clip_by_clip(getattr(pipeline, "vae", None)):
            return pipeline(prompt=list(prompts), output_type="pt", **given)[0]

    return call


def as_latents(pipeline: Any, noise: Noise, dtype: torch.dtype) -> Tensor:
    """Noise as the `latents=` of a pipeline; Kandinsky 5 wants those of a picture to begin with behind its channels.

    Its other pipelines are not given an empty one: they would begin with that instead of their picture.
    """
    latents = noise.to(pipeline._execution_device, dtype)
    empty = type(pipeline).__name__ == "Kandinsky5T2VPipeline" and pipeline.transformer.visual_cond
    return pad(latents, (0, latents.shape[-1] + 1)) if empty else latents  # no picture, and a mask that says so


def for_rows(settings: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Settings for a list of prompts: what is said once is said for each of them.

    Raises ValueError for a list of texts that differ: rows move, and a text would belong to a place.
    """
    given = dict(settings)
    for name in TEXTS & given.keys():
        texts = [given[name]] if isinstance(given[name], str) else given[name]
        if texts and any(text != texts[0] for text in texts):
            raise ValueError(f"{name} has {len(texts)} texts that differ; give one, which serves every row")
        given[name] = [texts[0]] * rows if texts else None
    return given


def generators(noise: Noise) -> list[torch.Generator]:
    """One generator per row, seeded by a digest of the row, so that equal noise means equal randomness."""
    digests = [hashlib.blake2b(row.float().cpu().numpy().tobytes(), digest_size=8).digest() for row in noise]
    return [torch.Generator().manual_seed(int.from_bytes(d) >> (64 - SEED_BITS)) for d in digests]


def spans(rows: int, size: int) -> list[tuple[int, int]]:
    """Cuts of at most `size` rows."""
    return [(i, min(i + size, rows)) for i in range(0, rows, size)]


def fill(rows: int, size: int) -> list[int]:
    """Row numbers of a batch filled up to `size` with its last row."""
    return [min(i, rows - 1) for i in range(size)]


def to_media(made: Any) -> Media:
    """Float media [b, 3, h, w] or [b, t, 3, h, w] in [0, 1] from PIL pictures, arrays, tensors or lists of them.

    Integers count to 255. Channels may come last, as in arrays they do where both is possible. Raises TypeError for
    other things and ValueError for other shapes.
    """
    if isinstance(made, Tensor):
        return laid_out(made, (-3, -1))
    if isinstance(made, np.ndarray):
        return laid_out(torch.from_numpy(made), (-1, -3))
    first = made[0] if isinstance(made, list | tuple) and made else None
    if isinstance(first, Tensor):
        return to_media(torch.stack(list(made)))
    if isinstance(first, np.ndarray):
        return to_media(np.stack(made))
    if isinstance(first, list | tuple):
        return torch.stack([to_media(frames) for frames in made])
    if hasattr(first, "convert"):
        return to_media(np.stack([np.asarray(picture.convert("RGB")) for picture in made]))
    raise TypeError(f"cannot read media from {type(made).__name__}; return PIL pictures, an array or a tensor")


def laid_out(values: Tensor, places: tuple[int, ...]) -> Media:
    """Pixels as floats with their channels third from the end; `places` are where to look for them, best first."""
    channels = next((axis for axis in places if values.ndim in (4, 5) and values.shape[axis] == 3), None)
    if channels is None:
        raise ValueError(
            f"media of shape {tuple(values.shape)} are neither pictures [b, 3, h, w] nor clips [b, t, 3, h, w]; "
            "return three channels, there or last"
        )
    if values.dtype == torch.bool or values.is_complex():
        raise TypeError(f"media of {values.dtype} are no pixels; return floats in [0, 1] or integers up to 255")
    pixels = values.float() if values.is_floating_point() else values.float() / 255
    return pixels.movedim(channels, -3)


@contextmanager
def counting(pipeline: Any) -> Iterator[list[int]]:
    """Count rows through a pipeline's denoisers in the first item of a list, by hooks that change nothing."""
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
    """A readable name: where a pipeline came from, or what a callable is called."""
    path = getattr(getattr(source, "config", None), "get", lambda _: None)("_name_or_path")
    return str(path or getattr(source, "__name__", type(source).__name__))


def describe(model: Any, pipeline: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that all adapters share: what runs, with which settings, on what."""
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
    return {**found, "threads": torch.get_num_threads(), "versions": versions(), "backends": backends()}
