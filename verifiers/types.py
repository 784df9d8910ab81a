"""What every judge takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

Media = Tensor  # [b, 3, h, w] pictures or [b, t, 3, h, w] clips, RGB in [0, 1]


class Scores(NamedTuple):
    """One number per sample, higher is better; NaN means "unscored"."""

    total: Tensor  # [b]
    parts: Mapping[str, Tensor] = MappingProxyType({})  # name -> [b], for logs and reports


@runtime_checkable
class Verifier(Protocol):
    """A judge: media and prompts in, one score per sample out.

    `progress` in (0, 1] tells stage-aware judges how far the samples are; outcome judges ignore it.
    `differentiable` promises gradients of `total` with respect to `media`.
    """

    name: str
    differentiable: bool

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores: ...
