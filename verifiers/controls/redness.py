"""The mean redness of a picture: a differentiable reward to try a training run with."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.card import Card
from verifiers.types import Media, Scores

CARD = Card(checkpoint="none", licence="none needed", input="pictures", range="-1 to 1", differentiable=True)


class Redness:
    """Mean of R - (G + B) / 2 over pixels, in [-1, 1] (HyperNoise, Eyring et al. 2025, arXiv:2508.09968).

    Differentiable. The score does not depend on the prompt. A picture with a non-finite pixel scores NaN or infinity.

    Args:
        name: the verifier's name in logs and reports.
    """

    differentiable = True

    def __init__(self, name: str = "redness") -> None:
        self.name = name

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures.

        Args:
            media: pictures [b, 3, h, w], RGB in [0, 1].
            prompts: ignored.
            progress: ignored.

        Raises:
            ValueError: for media of another shape.
        """
        if media.ndim != 4 or media.shape[1] != 3:
            raise ValueError(f"{self.name} takes pictures [b, 3, h, w], not {list(media.shape)}; give it RGB")
        red, green, blue = media.float().unbind(1)
        total = (red - (green + blue) / 2).flatten(1).mean(1)
        return Scores(total, {self.name: total.detach()})
