"""SearchPipeline: a generator, a verifier and a search behind one call, as in diffusers."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch

from gensearch import registry
from gensearch.config.run import RunConfig
from gensearch.core.result import Progress, Result
from gensearch.core.types import Model, Proposal, Search
from gensearch.engine.run import result, stream
from gensearch.files.images import Picture, to_images
from gensearch.runs.resume import recipe_of
from gensearch.search.chunks.resume import Recorded
from gensearch.search.knobs import bounds, checked_knobs, hints_of
from verifiers.combine import Panel
from verifiers.names import leaf_names
from verifiers.types import Media, Verifier

DEFAULT_COMPUTE = 16.0
T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """What a call returns: `images` as in diffusers (for a clip, its frames), and everything about the search."""

    images: list[Picture]
    result: Result
    holdout: dict[str, tuple[float, float]]  # name -> (winner, base); NaN where it could not score


class SearchPipeline:
    """A frozen generator that spends more compute on each prompt and returns its best sample."""

    def __init__(
        self,
        model: Any,
        verifier: str | Verifier = "shapes/clip",
        search: str | Search = "best_of_n",
        *,
        compute: float | None = None,
        select: str | Verifier | None = None,
        holdout: Sequence[str | Verifier] = (),
        propose: str | Proposal | None = None,
        options: Mapping[str, Any] | None = None,
        **knobs: Any,
    ) -> None:
        """Wrap a model or a loaded diffusers pipeline, with its LoRAs, offloading and compile settings.

        `compute` is the budget in prices of one ordinary sample: 16 unless it is given or a knob bounds the search.
        `verifier` guides, `select` picks among finished samples instead of it (`rank(a,b)` elects by mean rank among
        all of them), `holdout` judges only report. `options` (steps, guidance_scale, batch_size...) are for wrapping.
        `propose` makes the noise that a search starts from: None for plain noise, a callable, or the name of a
        hypernetwork. Verifiers given by name run where the model does. Raises ValueError for unknown names and knobs,
        for hold-outs that guide, select or share a name, and for options of a model that is ready.
        """
        self.model: Model = ready(model, options or {})
        self.search = registry.search(search) if isinstance(search, str) else called(search, "search", "best_of_n")
        self.compute = compute
        if isinstance(propose, str):
            propose = registry.proposal(propose, self.model)
        self.knobs = checked_knobs(self.search, {**knobs, **({"propose": propose} if propose else {})})
        device, loaded = device_of(self.model), own_judge(self.model, verifier, select, *holdout)

        def judge(given: str | Verifier) -> Verifier:
            if isinstance(given, str):
                return registry.verifier(given, device=device, loaded=loaded)
            return called(given, "verifier", "shapes/clip")

        reporters = [judge(given) for given in holdout]
        names = [reporter.name for reporter in reporters]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two hold-outs are called {', '.join(map(repr, twice))}; give each a name of its own")
        self.panel = Panel(
            judge(verifier),
            judge(select) if select else None,  # type: ignore[arg-type]
            dict(zip(names, reporters, strict=True)),
        )

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        verifier: str | Verifier = "shapes/clip",
        search: str | Search = "best_of_n",
        *,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> SearchPipeline:
        """Load a model by name or path with `options` (steps, batch_size, device...); the rest as for the class."""
        return cls(source, verifier, search, options=options, **settings)

    @classmethod
    def from_config(cls, config: RunConfig) -> SearchPipeline:
        """The pipeline that a config describes; prompt and seed are for the call."""
        settings = {name: getattr(config, name) for name in ("compute", "select", "holdout", "propose")}
        settings |= config.knobs
        return cls.from_pretrained(config.model, config.verifier, config.search, options=config.options, **settings)

    def __call__(self, prompt: str, seed: int = 0, **overrides: Any) -> Output:
        """Search once. `overrides` replace `compute` and knobs for this call; Ctrl-C keeps the best so far.

        Raises ValueError for a bad prompt, seed or knob, and KeyboardInterrupt if no sample was finished yet.
        """
        progress, closed = None, False
        try:
            for step in self.stream(prompt, seed, **overrides):
                progress = step
        except KeyboardInterrupt:
            if progress is None or progress.best is None:
                raise
            closed = True
        return self.output(prompt, result(progress, closed))

    def stream(self, prompt: str, seed: int = 0, **overrides: Any) -> Iterator[Progress]:
        """The progress of a search, round by round; stop whenever you like and keep `progress.best`."""
        compute = overrides.pop("compute", self.compute)
        knobs = {**self.knobs, **overrides}
        if (
            isinstance(source := knobs.get("resume"), str)
            and source
            and hints_of(self.search).get("resume") == Recorded
        ):
            knobs["resume"] = recipe_of(self.model, prompt, source)
        compute = budget(self.search, compute, knobs)
        guide, select = self.panel.guide, self.panel.select
        chooser = None if select is guide else select
        settings = {"compute": compute, "seed": seed, "select": chooser, **knobs}
        rounds = cast(Generator[Progress], stream(self.search, self.model, guide, prompt, **settings))
        return self._early(rounds, prompt)

    def _early(self, rounds: Generator[Progress], prompt: str) -> Iterator[Progress]:
        """Ask the hold-outs after the first sample: what they cannot judge is said before the budget is spent."""
        asked = False
        with closing(rounds):
            for step in rounds:
                if step.base is not None and not asked:
                    self._opinions(step.base.media[None], prompt)
                    asked = True
                yield step

    def output(self, prompt: str, found: Result) -> Output:
        """Pictures of the winner, and what the hold-outs think of it and of the base sample (not in the ledger)."""
        opinions = self._opinions(torch.stack([found.best.media, found.base.media]), prompt)
        holdout = {name: (float(total[0]), float(total[1])) for name, total in opinions.items()}
        return Output(to_images(found.best.media), found, holdout)

    @torch.no_grad()
    def _opinions(self, media: Media, prompt: str) -> dict[str, torch.Tensor]:
        return self.panel.report(media, [prompt] * len(media))


def budget(search: Search, compute: float | None, knobs: Mapping[str, Any]) -> float | None:
    """The budget that is given, or else the default; None where a knob bounds the search instead."""
    if compute is None and not any(knobs.get(name) for name in bounds(search)):
        return DEFAULT_COMPUTE
    return compute


def ready(model: Any, options: Mapping[str, Any]) -> Model:
    """A model as it is, or loaded or wrapped with options; raises ValueError for options that come too late."""
    if not hasattr(model, "advance"):
        return registry.load_model(model, **options)
    if options:
        raise ValueError(f"{model.name} is loaded already, so {', '.join(options)} would do nothing; load it with them")
    return cast(Model, model)


def called(given: T, role: str, example: str) -> T:
    """What was given for a role, if it can be called; raises ValueError for anything else."""
    if not callable(given):
        raise ValueError(f"{role} {given!r} is none; give a name, such as {example!r}, or something that can be called")
    return given


def own_judge(model: Model, *given: Any) -> dict[str, Verifier]:
    """`self` as a verifier, if it is among the judges that are given by name and the model also looks."""
    named = {leaf for name in given if isinstance(name, str) for leaf in leaf_names(name)}
    return {"self": model.own_judge()} if "self" in named and hasattr(model, "own_judge") else {}


def device_of(model: Model) -> Any:
    """Where a model's networks run; the CPU for one that does not say."""
    pipeline = getattr(model, "pipeline", None)
    return getattr(model, "device", None) or getattr(pipeline, "_execution_device", None) or "cpu"
