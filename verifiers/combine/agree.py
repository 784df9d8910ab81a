"""A selector by score and agreement: the mean of several verifiers, less where they disagree."""

from __future__ import annotations

import math

from torch import Tensor

from verifiers.combine.sums import Term
from verifiers.combine.zscore import ZSum
from verifiers.types import Verifier


class Agreement(ZSum):
    """A selector by the mean of z-scores over the pool, minus `doubt` times their variance between verifiers.

    Uncertainty-weighted optimisation (Coste et al. 2023, arXiv:2310.02743), on z-scores. A candidate that one verifier
    likes and another does not loses to one that all like less.

    Args:
        *verifiers: two or more with different names.
        doubt: weight of the variance, 0 or more.
        name: the name in logs and reports.

    Raises:
        ValueError: for fewer than two verifiers, two of one name, and a `doubt` below 0.
    """

    def __init__(self, *verifiers: Verifier, doubt: float = 0.5, name: str = "agree") -> None:
        if len(verifiers) < 2 or not 0 <= doubt < math.inf:
            raise ValueError(
                f"{name!r} has {len(verifiers)} verifiers and doubt {doubt}; give two or more, and a doubt of 0 or more"
            )
        super().__init__(*map(Term, verifiers), name=name)
        self.doubt = doubt

    def combined(self, z: Tensor) -> Tensor:
        """Return the mean less the doubt of each candidate.

        Args:
            z: z-scores [verifiers, n].
        """
        return z.mean(0) - self.doubt * z.var(0, correction=0)
