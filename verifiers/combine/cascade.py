"""A selector in two steps: a cheap verifier scores all candidates, and a dear one the best of them."""

from __future__ import annotations

import torch

from verifiers.adapt import as_verifier, ask
from verifiers.combine.elector import Elected, Elector, Pool, first_best
from verifiers.combine.sums import Term
from verifiers.types import Verifier


class Cascade(Elector):
    """Elects by the dear verifier among the `keep` candidates that the cheap verifier scores highest.

    Source: a control, without a paper. The two scales are never joined: a sample's score is that of the cheap verifier,
    and the dear one's stands in its parts. With `keep` candidates or fewer it is the dear verifier's pick.

    Args:
        cheap: scores each sample when it is finished; None for the guide's scores.
        dear: scores the finalists, once, at the end of the search.
        keep: finalists, 1 or more.
        name: the name in logs and reports.

    Raises:
        ValueError: for a `keep` below 1, and for a dear verifier that only compares.
    """

    def __init__(self, cheap: Verifier | None, dear: Verifier, *, keep: int = 4, name: str = "cascade") -> None:
        if not callable(dear):
            raise ValueError(f"{dear.name!r} only compares two pictures; let it elect by 'knockout({dear.name})'")
        super().__init__(*([] if cheap is None else [Term(cheap)]), final=as_verifier(dear), keep=keep, name=name)

    @property
    def compares(self) -> bool:
        """Never: finalists are scored one by one."""
        return False

    def elect(self, pool: Pool) -> Elected:
        """Score the finalists, and return the best of them; of equals, the one that the cheap verifier prefers.

        Args:
            pool: one or more candidates.
        """
        finalists = pool.shortlist(self.keep)
        verdicts = torch.full((len(pool.media),), torch.nan, dtype=torch.float64)
        if not finalists:
            return Elected(None, {self.final.name: verdicts})
        media = torch.stack([pool.media[index] for index in finalists])
        found = ask(self.final, media, [pool.prompt] * len(finalists)).total.detach().double().cpu()
        verdicts[finalists] = found
        best = first_best(found)
        about = {"finalists": len(finalists), "missing": int((~found.isfinite()).sum())}
        return Elected(None if best is None else finalists[best], {self.final.name: verdicts}, about)

    def calls(self, finalists: int) -> int:
        """Return the calls of the dear verifier: one for each finalist.

        Args:
            finalists: how many there are, 0 or more.
        """
        return finalists
