"""The closed-form setting in which searches are tested, and verifiers that fail in it on purpose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from gensearch.core.noise import randn, remake
from gensearch.core.result import Progress, Result
from gensearch.core.sampling import again
from gensearch.core.types import Model, Recipe, Round, Search, Sizes
from gensearch.engine.run import result, stream
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.testing.verifiers import LinearScore
from gensearch.testing.witness import Failure
from verifiers.batches import cut
from verifiers.controls.random import RandomScore
from verifiers.types import Media, Scores, Verifier


@torch.no_grad()
def replay(model: Model, prompt: str, recipe: Recipe, made_in: Sizes = (1,)) -> Media:
    """The picture [3, h, w] of a recipe.

    Args:
        model: The generator.
        prompt: Of the picture.
        recipe: How to reproduce its noise.
        made_in: The sizes of its physical batches.
    """
    return again(model, prompt, remake(recipe, model.noise_shape), recipe, made_in)[0]


@dataclass(frozen=True)
class Setting:
    """A search with its knobs, and the closed-form model and verifier that it is tested with.

    Attributes:
        search: The search under test.
        knobs: Its arguments.
        model: The generator.
        verifier: The guide.
        blind: From a seed, a verifier whose scores are independent of the media.
        replay: (model, prompt, recipe, made_in) -> the sample of a recipe.
        prompt: Of the search.
        compute: Budget in multiples of one sample's cost.
        extends: Whether a longer search begins with the samples of a shorter one.
    """

    search: Search
    knobs: Mapping[str, Any] = field(default_factory=dict)
    model: Any = field(
        default_factory=lambda: GaussianFlow((1, 4, 4), num_steps=3, churn=0.5, guidance=1.5, batch_size=4)
    )
    verifier: Verifier = field(default_factory=lambda: LinearScore(randn([4], (1, 4, 4))[0]))
    blind: Callable[[int], Verifier] = RandomScore
    replay: Callable[..., Media] = replay
    prompt: str = "a photo of a red star"
    compute: int = 13
    extends: bool = True

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The real modules by ledger column."""
        return {self.column: self.model.network, "decoded": self.model.decoder}

    @property
    def column(self) -> str:
        """The ledger column of the model's own network."""
        return "tokens" if "tokens" in self.model.verbs else "nfe"

    def stream(self, **changes: Any) -> Iterator[Progress]:
        """Start the search.

        Args:
            changes: Go to `stream`, or replace fields of this setting.
        """
        own = {
            name: changes.pop(name) for name in [*changes] if name in self.__dataclass_fields__ and name != "compute"
        }
        here = replace(self, **own)
        budget = {} if "limit" in changes else {"compute": here.compute}
        options = {"seed": 5} | budget | changes | dict(here.knobs)
        return stream(here.search, here.model, here.verifier, here.prompt, **options)

    def rounds(self, **changes: Any) -> list[Progress]:
        """Run the search to its end."""
        return list(self.stream(**changes))

    def broken_off(self, **changes: Any) -> tuple[list[Progress], str]:
        """Run the search until something fails: its rounds, and the error that it raised or recorded.

        Args:
            changes: As for `stream`.
        """
        rounds = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                for progress in self.stream(**changes):
                    rounds.append(progress)
            except Failure as error:
                return rounds, str(error)
        return rounds, rounds[-1].error if rounds else ""

    def result(self, **changes: Any) -> Result:
        """Run the search and return its result."""
        return result(self.rounds(**changes)[-1])


class Batched:
    """A verifier whose `network` scores in physical batches of at most four, as real ones do.

    Args:
        verifier: Whose scores it returns.
    """

    batch_size = 4

    def __init__(self, verifier: Verifier) -> None:
        self.network = Network(verifier)
        self.name = verifier.name
        self.differentiable = verifier.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The inner scores."""
        done, first = [], 0
        for count, size in cut(len(media), self.batch_size):
            rows = [min(row, first + count - 1) for row in range(first, first + size)]
            done.append(self.network(media[rows], [prompts[row] for row in rows], progress=progress))
            first += count
        parts = {name: torch.cat([scores.parts[name] for scores in done])[: len(media)] for name in done[0].parts}
        return Scores(torch.cat([scores.total for scores in done])[: len(media)], parts)


class Network(nn.Module):
    """A verifier as a module, so that hooks can count its rows.

    Args:
        verifier: Whose scores it returns.
    """

    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self.verifier = verifier

    def forward(self, media: Media, prompts: Sequence[str], progress: float) -> Scores:
        """The inner scores."""
        return self.verifier(media, prompts, progress=progress)


class Unscorable:
    """A verifier that cannot score some samples, by their content, and counts them in `refused`.

    Args:
        verifier: Whose scores it returns for the others.
        share: Of the samples, about; 0 to 1, more for all.
    """

    def __init__(self, verifier: Verifier, share: float) -> None:
        self.verifier = verifier
        self.lottery = RandomScore(3)
        self.share = share
        self.name = "unscorable"
        self.differentiable = verifier.differentiable
        self.refused = 0

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The inner scores, NaN for about `share` of the samples."""
        missing = self.lottery(media, prompts).total < self.share
        self.refused += int(missing.sum())
        return Scores(self.verifier(media, prompts, progress=progress).total.masked_fill(missing, torch.nan))


class Failing:
    """A verifier of which one call raises.

    Args:
        verifier: Whose scores it returns before.
        at: The number of that call, from 0.
    """

    def __init__(self, verifier: Verifier, at: int) -> None:
        self.verifier = verifier
        self.left = at
        self.name = "failing"
        self.differentiable = verifier.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The inner scores, until it raises Failure."""
        if not self.left:
            raise Failure("the verifier fails, as staged")
        self.left -= 1
        return self.verifier(media, prompts, progress=progress)


class Blinking:
    """A verifier of which one call can score nothing.

    Args:
        verifier: Whose scores it returns in the others.
        at: The number of that call, from 0.
    """

    def __init__(self, verifier: Verifier, at: int) -> None:
        self.verifier = verifier
        self.left = at
        self.name = "blinking"
        self.differentiable = verifier.differentiable

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """The inner scores, or NaN."""
        total = self.verifier(media, prompts, progress=progress).total
        self.left -= 1
        return Scores(total * torch.nan if self.left == -1 else total)


def watched(search: Search, log: list[str]) -> Search:
    """The same search, which appends "ended" to a log when its body ends.

    Args:
        search: Any.
        log: Is appended to.
    """

    @wraps(search)
    def body(*args: Any, **kwargs: Any) -> Iterator[Round]:
        try:
            yield from search(*args, **kwargs)
        finally:
            log.append("ended")

    return body


def outputs(rounds: list[Progress]) -> list[tuple[Any, ...]]:
    """Everything that two runs must have in common, bit for bit."""
    return [
        (
            p.round.recipes,
            p.round.ids,
            p.round.parents,
            p.round.done,
            digest(p.round.media),
            digest(p.round.scores.total),
        )
        for p in rounds
    ]


def digest(values: Tensor) -> bytes:
    """The bytes of a tensor."""
    return values.detach().cpu().contiguous().numpy().tobytes()


def finished(rounds: list[Progress]) -> list[tuple[int, float, bytes, Recipe]]:
    """Every finished sample in order: id, score, picture, recipe."""
    return [
        (r.ids[i], float(r.scores.total[i]), digest(r.media[i]), r.recipes[i])
        for r in (p.round for p in rounds)
        if r.done
        for i in range(len(r.ids))
    ]
