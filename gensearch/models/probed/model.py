"""Any diffusers pipeline as a model: its own call, which waits inside every scheduler step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gensearch.core.noise import randn
from gensearch.core.types import Noise, State
from gensearch.models.batching import fill, in_batches
from gensearch.models.clip_decoder import clip_by_clip
from gensearch.models.media import to_media
from gensearch.models.options import Batch, Shape, checked
from gensearch.models.pipelines import Wrapped, as_latents, counting, describe, exclusive, for_rows, label
from gensearch.models.probed.families import family, rearranged
from gensearch.models.probed.probe import Step
from gensearch.models.probed.stepper import Call, Order, first_step
from verifiers.types import Media

OURS = ("prompt", "latents", "generator", "output_type", "num_images_per_prompt", "num_videos_per_prompt")


@dataclass(frozen=True)
class Running(State):
    """Unfinished rows: slots of the pipeline call that holds them, which ends when they are dropped.

    Attributes:
        call: The pipeline call.
    """

    call: Call


class Probed(Wrapped):
    """A text-to-image or text-to-video pipeline that a search drives one scheduler step at a time.

    One state is one pipeline call of up to `batch_size` slots, so `start` takes at most that many rows (three fill four
    slots) and ends a call left unfinished. `state[keep]` may reorder, drop and copy rows as long as they fit: copies
    move into free slots of the same prompt together with what a multistep solver remembers. A call goes forward only:
    after `advance`, the older state is spent. Finished rows are plain data. `render` of unfinished rows needs a family
    whose decoder is known.

    A stochastic scheduler gets the caller's noise; the step after the last network pass takes none. Construction runs
    the denoiser at most twice, to measure the latents' shape, the steps and the forwards per step.

    Args:
        pipeline: Of diffusers, with `latents=`; its code is left as it is.
        batch_size: Slots of one call.
        noise_shape: Of one sample, for pipelines whose `latents=` have another layout than the scheduler's samples
            (FLUX.2); None measures it.
        name: In logs and records (default: where the pipeline came from).
        prompt: For the measurement.
        settings: Of the pipeline's call.

    Raises:
        ValueError: The pipeline ignores `latents`, or the search sets one of the settings.
    """

    verbs: frozenset[str] = frozenset()

    @checked
    def __init__(
        self,
        pipeline: Any,
        *,
        batch_size: Batch = 4,  # searches ask for rounds of at least this many
        noise_shape: Shape | None = None,
        name: str | None = None,
        prompt: str = "a photo of a cat",
        **settings: Any,
    ) -> None:
        if clash := [s for s in settings if s in OURS]:
            raise ValueError(
                f"{', '.join(clash)} cannot be a setting of a probed pipeline, the search sets it; leave it out"
            )
        if "latents" not in inspect.signature(pipeline.__call__).parameters:
            raise ValueError(f"{type(pipeline).__name__} takes no `latents`; a search needs to choose the noise")
        self.pipeline = pipeline
        self.batch_size = batch_size
        self.settings = settings
        self.name = name or label(pipeline)
        self.family = family(pipeline)
        with exclusive(pipeline, new=True):
            self._measure([prompt] * batch_size, noise_shape)

    @property
    def decoder_batch(self) -> int:
        """Samples that are decoded together; clips are decoded one at a time."""
        return 1 if self.family is not None and self.family.clips else self.batch_size

    def start(self, prompts: Sequence[str], noise: Noise) -> State:
        """Begin a pipeline call and wait in its first scheduler step.

        Raises:
            ValueError: There are more rows than slots, or noise has another shape.
        """
        rows = len(prompts)
        if rows > self.batch_size:
            raise ValueError(
                f"{rows} rows do not fit into one call of {self.name}, which has {self.batch_size} slots; "
                f"start {self.batch_size} at a time or set batch_size={rows}"
            )
        if tuple(noise.shape) != (rows, *self.noise_shape):
            raise ValueError(f"{self.name} takes noise of shape {(rows, *self.noise_shape)}, not {tuple(noise.shape)}")
        filled = fill(rows, self._slots(rows))
        slots, latents = [prompts[r] for r in filled], noise[filled]
        with exclusive(self.pipeline, new=True):
            call = Call(self.pipeline, slots, lambda: self._run(slots, latents))
            return self._state(call, self._pass(call, call.first), tuple(prompts), list(range(rows)))

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Take the scheduler step with noise [b, *noise_shape] and run the next network pass.

        Raises:
            ValueError: The state is finished or outdated, its rows do not fit, or noise is missing.
        """
        call = self._call(state)
        slots, source = settle(state.extra["slot"].tolist(), call.prompts)
        moved = source if source != list(range(len(call.prompts))) else None
        drawn = self._unasked
        if self.stochastic:
            if noise is None:
                raise ValueError(f"{type(self.pipeline.scheduler).__name__} is stochastic: give noise for every row")
            drawn = torch.zeros(len(call.prompts), *self.noise_shape)
            drawn[slots] = noise.float().cpu()
        with exclusive(self.pipeline):
            report = self._pass(call, lambda: call.go(Order(moved, drawn)))
            return self._state(call, report, state.prompts, slots)

    def render(self, state: State) -> Media:
        """The pipeline's own decoding, without a graph: previews of unfinished rows, the result of finished ones.

        Raises:
            ValueError: Rows are unfinished and the family's decoder is not known.
        """
        if self.family is None:
            if not bool(state.done.all()):
                raise ValueError(
                    f"{self.name} cannot show unfinished samples: the decoder of {type(self.pipeline).__name__} is not "
                    "known. Finish them first, or use a search without previews"
                )
            return state.clean
        with exclusive(self.pipeline), torch.no_grad():
            return in_batches(
                partial(self.family.decode, self.pipeline, self.settings), self.decoder_batch, state.clean
            )

    def fingerprint(self) -> dict[str, Any]:
        """What the bits of a sample depend on; hashes the weights at the first call."""
        own = {"batch_size": self.batch_size, "noise_shape": list(self.noise_shape), "components": self._hashes}
        measured = {"num_steps": self.num_steps, "nfe_per_step": self.nfe_per_step}
        return {**describe(self, self.pipeline, self.settings), **own, **measured}

    def _run(self, prompts: Sequence[str], latents: Noise | None, **given: Any) -> Tensor:
        """One call of the pipeline: latents where the decoder is known, else media."""
        if latents is not None:
            given["latents"] = as_latents(self.pipeline, latents, self.dtype)
        given |= for_rows(self.settings, len(prompts))
        with clip_by_clip(getattr(self.pipeline, "vae", None)):
            made = self.pipeline(prompt=list(prompts), output_type="latent" if self.family else "pt", **given)[0]
        return made if self.family else to_media(made)

    def _call(self, state: State) -> Call:
        """The call that holds a state; raises ValueError if it has moved on."""
        if not isinstance(state, Running):
            raise ValueError(f"these samples of {self.name} are finished; render them")
        call = state.call
        if not call.close.alive or (state.extra["call"] != call.id).any():
            raise ValueError(f"the call of {self.name} behind this state has ended; a later `start` ends it")
        if (state.step != call.taken + 1).any():
            raise ValueError(f"the call of {self.name} has gone past this state; advance the latest state only")
        return call

    def _state(self, call: Call, report: Step | Tensor, prompts: tuple[str, ...], slots: list[int]) -> State:
        """The rows in some slots after a network pass; the last pass is followed by the step that ends the call."""
        x = None
        if isinstance(report, Step):
            x = report.x[slots]  # a copy: some pipelines write the next sample over it
            if call.taken == self.num_steps - 1:
                last = torch.zeros(len(call.prompts), *self.noise_shape) if self._drew else self._unasked
                report = call.go(Order(None, last))
        finished = call.taken == self.num_steps
        if x is None or isinstance(report, Step) == finished:
            call.close()
            raise RuntimeError(f"{self.name} took {self.num_steps} steps when measured and now {call.taken}")
        extra = {"slot": torch.tensor(slots), "call": torch.full((len(slots),), call.id)}
        done = torch.full((len(slots),), call.taken + (not finished))
        if isinstance(report, Step):
            clean = self.family.unscaled(self.pipeline, report.clean) if self.family else report.clean
            return Running(prompts, done, self.num_steps, x, clean[slots], extra, call)
        return State(prompts, done, self.num_steps, x, report[slots], extra)

    def _pass(self, call: Call, work: Callable[[], Step | Tensor]) -> Step | Tensor:
        """What a call reports next; raises ValueError if it took another number of rows through the denoiser."""
        with counting(self.pipeline) as passed:
            report = work()
        expected = self.nfe_per_step * len(call.prompts)
        if isinstance(report, Step) and passed[0] != expected:
            call.close()
            raise ValueError(
                f"{self.name} took {expected} rows through its denoiser in its first step and {passed[0]} in step "
                f"{call.taken + 1}, which no ledger can price; leave out settings that change the passes from step to "
                "step (skipped layers, guidance that ends early), or use adapter='black_box'"
            )
        return report

    def _slots(self, rows: int) -> int:
        """Slots of a call for so many rows: the next power of two that it has room for."""
        return min(1 << (rows - 1).bit_length(), self.batch_size)

    @property
    def _unasked(self) -> Noise:
        """Empty noise for a scheduler that draws none; one that was exchanged and draws is refused."""
        return torch.empty(0, *self.noise_shape)

    def _measure(self, prompts: list[str], noise_shape: Sequence[int] | None) -> None:
        """Measure the latents' shape, steps, forwards and randomness on first steps that are never finished."""
        self.dtype = self.pipeline.dtype
        if noise_shape is None:
            step = self._first_step(prompts, None)
            noise_shape, self.dtype = step.x.shape[1:], step.x.dtype
        self.noise_shape = tuple(noise_shape)
        noise = randn(range(self.batch_size), self.noise_shape)
        with counting(self.pipeline) as passed:
            step = self._first_step(prompts, noise)
        if not rearranged(step.x, noise):
            raise ValueError(
                f"{self.name} ignores its `latents`: its first step starts from other numbers. "
                "Take a text-to-image or text-to-video pipeline"
            )
        self._drew = step.drew
        self.nfe_per_step = passed[0] // self.batch_size
        self.num_steps = getattr(self.pipeline, "_num_timesteps", None) or len(step.scheduler.timesteps)
        self.stochastic = step.drew and self.num_steps > 1

    def _first_step(self, prompts: list[str], noise: Noise | None) -> Step:
        """Run a call up to and including its first scheduler step."""
        given = {"generator": torch.Generator().manual_seed(0)} if noise is None else {}
        return first_step(self.pipeline, lambda: self._run(prompts, noise, **given))


def settle(wanted: Sequence[int], held: Sequence[str]) -> tuple[list[int], list[int]]:
    """Assign rows to slots: the slot of each row, and for each slot the one that its contents come from.

    The first row of a slot stays in it; copies take free slots of the same prompt.

    Args:
        wanted: The slot whose contents each row has.
        held: The prompt of each slot.

    Raises:
        ValueError: No slot is free for a copy.
    """
    free = [s for s in range(len(held)) if s not in wanted]
    slots: list[int] = []
    source = list(range(len(held)))
    for slot in wanted:
        target = slot if slot not in slots else next((s for s in free if held[s] == held[slot]), None)
        if target is None:
            raise ValueError(
                f"{len(wanted)} rows do not fit into the {len(held)} slots of this pipeline call: no slot is free for "
                f"another row of {held[slot]!r}. Keep fewer copies or set a larger batch_size"
            )
        if target in free:
            free.remove(target)
        source[target] = slot
        slots.append(target)
    return slots, source
