"""A selector by mean rank over several verifiers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from verifiers.combine.elector import Elected, Elector, Pool
from verifiers.combine.sums import Term
from verifiers.types import Verifier


class RankVote(Elector):
    """A selector that combines several verifiers by their mean rank over a pool of candidates.

    Called on single samples it returns the score of the first verifier. A sample that one of the verifiers cannot score
    is unscored.

    Args:
        *verifiers: one or more with different names.
        name: the name of the vote in logs and reports.

    Raises:
        ValueError: for no verifiers, and for two of one name.
    """

    def __init__(self, *verifiers: Verifier, name: str = "rank") -> None:
        terms = [Term(voter, weight=float(place == 0)) for place, voter in enumerate(verifiers)]
        if not terms:
            raise ValueError(f"{name!r} needs one or more verifiers with different names")
        super().__init__(*terms, name=name)

    def elect(self, pool: Pool) -> Elected:
        """Return the candidate of the best mean rank, the first of equals.

        Args:
            pool: one or more candidates.
        """
        parts = {term.verifier.name: pool.parts[term.verifier.name] for term in self.terms}
        first = int(rank_vote(parts)[0])
        return Elected(first if all(scores[first].isfinite() for scores in parts.values()) else None)


def rank_vote(parts: Mapping[str, Tensor]) -> Tensor:
    """Order a pool of candidates by their mean rank over several scores (Ma et al. 2025, arXiv:2501.09732).

    Equal scores share the average of their ranks, and equal mean ranks keep the order of the pool. Candidates that some
    verifier could not score come last and do not change the ranks of the others.

    Args:
        parts: verifier name -> scores [b] of the same pool.

    Returns:
        Candidate indices int64 [b], best first.
    """
    scores = torch.stack([part.detach().double() for part in parts.values()])  # [verifiers, b]
    unscored = ~scores.isfinite().all(0)
    scores = scores.masked_fill(unscored, torch.nan)  # compares false with everything
    mine, other = scores[:, :, None], scores[:, None, :]
    ranks = (other > mine).sum(-1) + (other == mine).sum(-1) / 2
    return ranks.mean(0).masked_fill(unscored, torch.inf).argsort(stable=True)
