"""A selector by the sum of z-scores over a pool of candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from verifiers.combine.elector import Elected, Elector, Pool, first_best
from verifiers.combine.sums import Term


class ZSum(Elector):
    """A selector that sums several verifiers after each is brought to mean 0 and spread 1 over the pool.

    Source: a control, without a paper. Called on single samples it returns the score of the first verifier. A sample
    that one of the verifiers cannot score is unscored.

    Args:
        *terms: one or more, whose verifiers have different names; shift and scale have no effect.
        name: the name of the sum in logs and reports.

    Raises:
        ValueError: for no terms, and for two verifiers of one name.
    """

    def __init__(self, *terms: Term, name: str = "zsum") -> None:
        if not terms:
            raise ValueError(f"{name!r} needs one or more verifiers with different names")
        super().__init__(*(Term(term.verifier, float(place == 0)) for place, term in enumerate(terms)), name=name)
        self.weights = torch.tensor([term.weight for term in terms], dtype=torch.float64)

    def elect(self, pool: Pool) -> Elected:
        """Return the candidate of the highest value, the first of equals.

        Args:
            pool: one or more candidates.
        """
        total = self.combined(z_scores(torch.stack([pool.parts[term.verifier.name] for term in self.terms])))
        return Elected(first_best(total), {self.name: total})

    def combined(self, z: Tensor) -> Tensor:
        """Return one value for each candidate.

        Args:
            z: z-scores [verifiers, n].
        """
        return self.weights @ z


def z_scores(scores: Tensor) -> Tensor:
    """Return scores with mean 0 and standard deviation 1 over the candidates that all verifiers scored.

    Equal scores become 0. A candidate that one verifier could not score gets NaN, and does not change the others.

    Args:
        scores: float64 [verifiers, n].
    """
    scored = scores.isfinite().all(0)
    inside = scores[:, scored]
    centred = inside - inside.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    equal = (inside == inside[:, :1]).all(1, keepdim=True)  # exactly: a spread of rounding errors is none
    z = torch.full_like(scores, torch.nan)
    z[:, scored] = torch.where(equal, 0.0, centred / spread)
    return z
