"""Judges that ask a model about the prompts of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Generic, TypeVar

from verifiers.batches import require_pictures
from verifiers.types import Media, Scores

Model = TypeVar("Model")
Item = TypeVar("Item")


class Asked(Generic[Model, Item]):
    """What these judges share: prompts of one benchmark only, and a model that is loaded for the first picture.

    Attributes:
        name: of the judge.
        data: where its prompts are from, for the error message.
        files: the same in short.

    Args:
        model: returns the model that is asked; called when the first picture is scored.
        items: prompt -> what is known about it.
    """

    name: str
    data: str
    files = "its file"
    differentiable = False

    def __init__(self, model: Callable[[], Model], items: Mapping[str, Item]) -> None:
        self.items = items
        self.load = cache(model)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1]; one that is not finite is unscored.
            prompts: b prompts of the benchmark.
            progress: ignored.

        Raises:
            ValueError: for clips, another number of prompts, and prompts that are not of the benchmark.
        """
        require_pictures(self.name, media, prompts)
        if strange := [prompt for prompt in prompts if prompt not in self.items]:
            raise ValueError(f"{self.data} has no prompt {strange[0][:80]!r}; take those of {self.files}")
        return self.scored(self.load(), media, [self.items[prompt] for prompt in prompts])

    def scored(self, model: Model, media: Media, items: Sequence[Item]) -> Scores:
        """Return the scores of pictures.

        Args:
            model: that is asked.
            media: pictures [b, 3, h, w] in [0, 1].
            items: of their prompts, b.
        """
        raise NotImplementedError("a subclass says what is asked")
