"""Many prompts side by side in a search that takes one: its chains share full batches, and each has a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from gensearch.core.types import State
from verifiers.types import Media, Scores


class Many:
    """A model or verifier that replaces one label by many prompts: row i of b has prompt i n / b of n."""

    differentiable = False

    def __init__(self, inner: Any, prompts: Sequence[str]) -> None:
        self.inner, self.prompts = inner, prompts

    def __getattr__(self, name: str) -> Any:
        if name == "batch_size" and not hasattr(self.inner, "advance"):
            raise AttributeError(name)  # a verifier is called once for all rows
        return getattr(self.inner, name)

    def texts(self, rows: int) -> list[str]:
        """Return the prompts of a number of rows."""
        return [self.prompts[row * len(self.prompts) // rows] for row in range(rows)]

    def booked(self, book: Callable[..., None]) -> Many:
        """Call `booked` of the model."""
        return Many(self.inner.booked(book), self.prompts)

    def start(self, prompts: Sequence[str], noise: Tensor) -> State:
        """Call `start` of the model, each row with its prompt."""
        state: State = self.inner.start(self.texts(len(noise)), noise)
        return state

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Call the verifier, each row with its prompt."""
        scores: Scores = self.inner(media, self.texts(len(media)), progress=progress)
        return scores
