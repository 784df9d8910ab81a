"""Any callable or pipeline that maps prompts and noise to media, as a model of one step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gensearch.core.noise import randn
from gensearch.core.types import Noise, State
from gensearch.models.batching import fill
from gensearch.models.clip_decoder import clip_by_clip
from gensearch.models.media import to_media
from gensearch.models.options import Batch, Count, Shape, checked
from gensearch.models.pipelines import Wrapped, as_latents, counting, describe, exclusive, for_rows, generators, label
from verifiers.batches import pieces
from verifiers.types import Media


class BlackBox(Wrapped):
    """A generator that can only be called whole: `start` does everything, `render` returns the result.

    Construction calls the generator three times, to check that the noise decides the picture. Decoding is booked by
    `render`.

    Args:
        source: A callable (prompts, noise [b, *noise_shape]) -> media, or a diffusers pipeline with `latents=`. Media
            may be PIL pictures, numpy arrays (channels last) or tensors.
        noise_shape: Of one sample.
        batch_size: The largest physical batch.
        nfe: Denoiser forwards of one sample; None measures a pipeline, and takes 1 for a callable.
        name: In logs and records.
        prompt: For the check.
        settings: Of a pipeline's call.

    Raises:
        ValueError: The noise does not decide the picture, or settings are given for a callable.
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
        """Generate every row, in physical batches."""
        media = []
        for part, _, size in pieces(len(prompts), self.batch_size):
            media.append(self._batch(prompts[part], noise[part], size))
        steps = torch.ones(len(prompts), dtype=torch.long)
        return State(tuple(prompts), steps, self.num_steps, noise, torch.cat(media), {})

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """There is no second step.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"{self.name} makes the whole sample in `start`; there is no step to advance")

    def render(self, state: State) -> Media:
        """The media that `start` made."""
        return state.clean

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on, as far as it can be determined from outside."""
        own = {"batch_size": self.batch_size, "nfe_per_step": self.nfe_per_step, "components": self._hashes}
        return {**describe(self, self.pipeline, self.settings), **own}

    def _batch(self, prompts: Sequence[str], noise: Noise, size: int) -> Media:
        if noise.shape[1:] != self.noise_shape:
            raise ValueError(f"{self.name} takes noise of shape {self.noise_shape}, not {tuple(noise.shape[1:])}")
        rows = fill(len(prompts), size)
        return to_media(self.generate([prompts[r] for r in rows], noise[rows]))[: len(prompts)]

    def _check(self, prompt: str) -> None:
        noise = randn(range(2 * self.batch_size), self.noise_shape)
        prompts = [prompt] * self.batch_size
        first, again, other = (
            self._batch(prompts, n, self.batch_size)
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
    """A pipeline as a callable; generators for step noise are seeded by each row's own noise.

    Args:
        pipeline: Of diffusers.
        settings: Of its call.

    Raises:
        ValueError: It takes no `latents`.
    """
    accepted = inspect.signature(pipeline.__call__).parameters
    if "latents" not in accepted:
        raise ValueError(f"{type(pipeline).__name__} takes no `latents`; a search needs to choose the noise")

    def call(prompts: Sequence[str], noise: Noise) -> Any:
        given: dict[str, Any] = {"generator": generators(noise)} if "generator" in accepted else {}
        given |= {"latents": as_latents(pipeline, noise, pipeline.dtype), **for_rows(settings, len(prompts))}
        with exclusive(pipeline, new=True), clip_by_clip(getattr(pipeline, "vae", None)):
            return pipeline(prompt=list(prompts), output_type="pt", **given)[0]

    return call
