"""The contract of a verifier: what it takes and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Device = str | torch.device
Media = Tensor  # [b, 3, h, w] pictures or [b, t, 3, h, w] clips, RGB in [0, 1]


class Scores(NamedTuple):
    """One number per sample, higher is better; NaN means "unscored".

    Attributes:
        total: the scores, float [b].
        parts: scores of components for logs and reports, name -> float [b].
    """

    total: Tensor
    parts: Mapping[str, Tensor] = MappingProxyType({})


@runtime_checkable
class Verifier(Protocol):
    """A scoring function: media and prompts in, one score per sample out.

    A panel gives verifiers their roles: the guide steers a search, the selector picks among finished candidates, a
    hold-out only reports. A verifier may have further members, which are looked up where they help:

    - `judge` or `judges`: the verifiers that it wraps, so that they cannot be held out while it guides or selects;
    - `terms`: the terms of a weighted sum;
    - `split`: from a prompt to its yes-or-no questions, whose P(yes) are in `Scores.parts` by question;
    - `model`: its network, so that equal weights under two names are recognised and its hash can be recorded;
    - `batch_size`: the number of media in one physical batch of its network;
    - `compare`: which of two pictures is better, as in `verifiers.tournament.compare.Comparer`;
    - `elect`: elects among finished candidates, as in `verifiers.combine.elector.Elector`;
    - `endpoint`: of a remote model, its server and name, which stand for its weights;
    - `bill()`: what it spent since the last call, columns of the ledger by name, such as `microdollars`;
    - `fee`: the most that one score can add to these columns, by which a limit is kept.

    Its attributes are only read, so that a constant of the class or a property will do.

    Args:
        media: pictures [b, 3, h, w] or clips [b, t, 3, h, w], RGB in [0, 1].
        prompts: one prompt per sample, b of them.
        progress: share of the sample that is generated, in (0, 1]; stage-aware verifiers read it, others ignore it.
    """

    @property
    def name(self) -> str:
        """Identifies the verifier in configs, logs and reports."""

    @property
    def differentiable(self) -> bool:
        """Whether `Scores.total` has gradients with respect to `media`."""

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores: ...
