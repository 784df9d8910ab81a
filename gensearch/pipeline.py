"""SearchPipeline: a generator, a verifier and a search behind one call, as in diffusers."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from gensearch.config.run import RunConfig
from gensearch.core.guard import REFERENCE, Guard, summary
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.result import Progress, Result
from gensearch.core.types import Model, Proposal, Search
from gensearch.engine.guard import Watch, examine, reported
from gensearch.engine.run import result, start
from gensearch.files.images import Picture, to_images
from gensearch.resolve import Entries, for_prompt, resolve, with_own_holdout
from gensearch.resolve import device_of as device_of
from gensearch.runs.format import charged
from verifiers.combine import Panel
from verifiers.types import Verifier


@dataclass(frozen=True, repr=False)
class Output:
    """What a call returns: `images` as in diffusers (for a clip, its frames), and everything about the search."""

    images: list[Picture]
    result: Result
    holdout: dict[str, tuple[float, float]]  # name -> (winner, base); NaN where it could not score
    guard: Guard | None = None  # what speaks for over-optimisation; None if it was switched off
    aside: Cost = Cost()  # what hold-outs spent, which no ledger and no limit counts

    def __repr__(self) -> str:
        """Scores of the winner and the first sample, what they are worth, and each warning, line by line."""
        best, base = self.result.best, self.result.base
        lines = [f"{len(self.images)} image(s), score {base.score:.4g} -> {best.score:.4g}"]
        lines += [f"hold-out {name}: {first:.4g} -> {winner:.4g}" for name, (winner, first) in self.holdout.items()]
        lines += [f"hold-outs took {paid}, beside the budget"] if (paid := charged(self.aside._asdict())) else []
        lines += summary(self.guard, bool(self.holdout)) if self.guard else []
        return "\n".join(lines)


class SearchPipeline:
    """A frozen generator that spends more compute on each prompt and returns its best sample.

    Attributes:
        job: What it runs, resolved and checked: model, search, panel of verifiers, knobs, budget and proposal.
    """

    def __init__(
        self,
        model: Any,
        verifier: str | Verifier | None = None,
        search: str | Search = "best_of_n",
        *,
        compute: float | None = None,
        select: str | Verifier | None = None,
        holdout: Sequence[str | Verifier] = (),
        propose: str | Proposal | None = None,
        options: Mapping[str, Any] | None = None,
        allow_noncommercial: bool = False,
        guard: bool = True,
        panel: Panel | Entries | str | Path | None = None,
        **knobs: Any,
    ) -> None:
        """Wrap a model or a loaded diffusers pipeline, with its LoRAs, offloading and compile settings.

        Args:
            model: A Model, a pipeline, or what `gensearch.load` takes: a name, a folder or a repository.
            verifier: Guides the search: a name, a verifier, or a function of (media, prompts). Those given by name run
                on the model's device; module:object names one in your own code. None: the default of an embedded
                model (shapes/critic for pictures), else shapes/clip.
            search: A search, or its name as `gensearch list searches` has it.
            compute: Budget in multiples of one sample's cost (NFE), 1 or more; None: 16, unless a knob sets a bound.
            select: Picks among finished samples in place of `verifier`; `rank(a,b)` elects by mean rank among all.
            holdout: Verifiers that only report, each with a name of its own; none of them may guide or select. Without
                any, embedded models have one of their own.
            propose: Makes the noise that a search starts from: a callable, or the name of a hypernetwork or a memory;
                None for plain noise.
            options: How to load or wrap the model: steps, guidance_scale, batch_size, device, dtype ...
            allow_noncommercial: Whether weights of verifiers given by name may forbid commercial use.
            guard: Whether to check for over-optimisation, outside the ledger and its clock: `Output.guard`. It needs at
                most 20 scores of each hold-out and 8 of the verifier that picks.
            panel: All verifiers with roles, in place of `verifier`, `select` and `holdout`: a Panel, a YAML file with a
                list `verifiers:`, or that list; its entries have name, role, weight, shift and scale.
            knobs: Arguments of the search.

        Raises:
            ValueError: A name or knob is unknown, a value unfit, a hold-out has another role or no name of its own, a
                licence is not allowed, or a loaded model gets options. What costs nothing is checked first.
            LoadError: The model cannot be loaded.
        """
        self.job = resolve(
            model,
            verifier,
            search,
            knobs=knobs,
            compute=compute,
            select=select,
            holdout=holdout,
            propose=propose,
            options=options,
            allow_noncommercial=allow_noncommercial,
            panel=panel,
        )
        self.guard = guard
        if guard and not self.panel.holdout:
            self.job = with_own_holdout(self.job)

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        verifier: str | Verifier | None = None,
        search: str | Search = "best_of_n",
        *,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> SearchPipeline:
        """Load a model by name or path.

        Args:
            source: A name, a folder or a repository.
            verifier: Guides the search.
            search: A search, or its name.
            options: How to load the model: steps, guidance_scale, batch_size, device, dtype ...
            settings: The other arguments of the class.

        Raises:
            ValueError: As the class does.
            LoadError: The model cannot be loaded.
        """
        return cls(source, verifier, search, options=options, **settings)

    @classmethod
    def from_config(cls, config: RunConfig) -> SearchPipeline:
        """The pipeline that a config describes; its prompt and seed are for the call.

        Args:
            config: A validated config.

        Raises:
            ValueError: As the class does.
            LoadError: The model cannot be loaded.
        """
        names = ("compute", "propose", "guard", "allow_noncommercial")
        settings = {name: getattr(config, name) for name in names} | config.knobs
        if config.verifiers:
            settings["panel"] = config.verifiers
        else:
            settings |= {"select": config.select, "holdout": config.holdout}
        return cls.from_pretrained(config.model, config.verifier, config.search, options=config.options, **settings)

    @property
    def model(self) -> Model:
        """The generator."""
        return self.job.model

    @property
    def panel(self) -> Panel:
        """The verifiers by role."""
        return self.job.panel

    def __call__(self, prompt: str, seed: int = 0, **overrides: Any) -> Output:
        """Search once; Ctrl-C keeps the best so far, and so does an exception, with a warning and `result.error`.

        Args:
            prompt: What the picture or clip should show, 1 to 2000 characters.
            seed: Everything random comes from it, 0 to 2^53 - 1.
            overrides: `compute`, `limit`, `propose` and knobs for this call.

        Raises:
            ValueError: The prompt, the seed, the budget or a knob is unfit.
            BudgetSpent: The budget cannot finish one sample.
            NothingScored: No sample could be scored.
            KeyboardInterrupt: Ctrl-C before a sample was finished and scored.
            Exception: Whatever a verifier or network raises before a sample was finished and scored.
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
        """The progress of a search, round by round; stop whenever you like and keep `progress.best`.

        Args:
            prompt: What the picture or clip should show, 1 to 2000 characters.
            seed: Everything random comes from it, 0 to 2^53 - 1.
            overrides: `compute`, `limit`, `propose` and knobs for this call.

        Raises:
            ValueError: At once, if the prompt, the seed, the budget or a knob is unfit.
            BudgetSpent: At once, if the budget cannot finish one sample.
        """
        rounds = start(for_prompt(self.job.changed(**overrides), prompt), prompt, seed)
        return self._watched(cast(Generator[Progress], rounds), prompt)

    def _watched(self, rounds: Generator[Progress], prompt: str) -> Iterator[Progress]:
        """Ask the hold-outs after the first sample: what they cannot score is said before the budget is spent."""
        watch = Watch(self.panel, prompt, REFERENCE + 1 if self.guard else 1)
        with closing(rounds):
            for step in rounds:
                watch.add(step)
                yield step

    def output(self, prompt: str, found: Result) -> Output:
        """The outcome of a search with pictures of the winner and the hold-outs' scores, which no ledger counts.

        Args:
            prompt: What was searched for.
            found: The outcome.
        """
        aside = Ledger()
        scores = reported(self.panel, torch.stack([found.best.media, found.base.media]), prompt, aside)
        holdout = {name: (winner, base) for name, (winner, base) in scores.items()}
        checked = examine(found, self.model, self.panel, prompt, holdout) if self.guard else None
        return Output(to_images(found.best.media), found, holdout, checked, found.seen.aside.plus(aside.spent))
