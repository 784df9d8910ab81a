"""A selector that lets the finalists of a search meet in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from verifiers.adapt import as_verifier, ask
from verifiers.combine.elector import Elected, Elector, Pool
from verifiers.combine.sums import Term
from verifiers.tournament.compare import Ask, Comparer, Referee, preference
from verifiers.tournament.knockout import knockout
from verifiers.tournament.round_robin import round_robin
from verifiers.tournament.swiss import held, swiss
from verifiers.types import Media, Verifier

FORMATS = ("knockout", "swiss", "roundrobin")


class Tournament(Elector):
    """Elects the winner of a tournament among the `keep` candidates that the cheap verifier scores highest.

    Source: a control, without a paper. A comparer is asked about each bout in both orders. A verifier that does not
    compare scores each finalist once, and its scores decide. Seeds are the places on the shortlist.

    Args:
        cheap: scores each sample when it is finished; None for the guide's scores.
        final: a comparer, or a verifier.
        format: "knockout", "swiss" or "roundrobin".
        keep: finalists, 1 or more.
        rounds: of a Swiss system, 1 or more; None for as many as leave one unbeaten.
        samples: questions to a comparer for each bout and order, 1 or more.
        vote: "mean" or "majority" of the samples.
        tie: a verdict at most so far from 0.5 is a tie, in [0, 0.5).
        name: the name in logs and reports; that of the format if empty.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        cheap: Verifier | None,
        final: Comparer | Verifier,
        *,
        format: str = "knockout",
        keep: int = 8,
        rounds: int | None = None,
        samples: int = 1,
        vote: str = "mean",
        tie: float = 0.0,
        name: str = "",
    ) -> None:
        if format not in FORMATS:
            raise ValueError(f"a tournament of the format {format!r} is unknown; take one of {', '.join(FORMATS)}")
        if rounds is not None and (format != "swiss" or rounds != int(rounds) or rounds < 1):
            raise ValueError(f"rounds of {format} are {rounds}; a Swiss system takes an integer of 1 or more")
        if not hasattr(final, "compare"):
            final = as_verifier(final)
        super().__init__(*([] if cheap is None else [Term(cheap)]), final=final, keep=keep, name=name or format)
        self.format, self.rounds = format, None if rounds is None else int(rounds)
        self.settings: dict[str, Any] = {"samples": samples, "vote": vote, "tie": tie}
        Referee(nobody, **self.settings)  # refuses settings out of range before anything is spent

    def elect(self, pool: Pool) -> Elected:
        """Let the finalists meet, and return the winner.

        Args:
            pool: one or more candidates.
        """
        invited = pool.shortlist(self.keep)
        parts = {self.name: torch.full((len(pool.media),), torch.nan, dtype=torch.float64)}
        if not invited:
            return Elected(None, parts)
        compare = getattr(self.final, "compare", None)
        media, finalists = torch.stack([pool.media[index] for index in invited]), invited
        if compare is None:
            scores = parts[self.final.name] = parts[self.name].clone()
            scores[invited] = ask(self.final, media, [pool.prompt] * len(invited)).total.detach().double().cpu()
            finalists = [index for index in invited if scores[index].isfinite()]
            referee = Referee(by_scores(scores[finalists]), **self.settings)
        else:
            referee = Referee(by_questions(compare, media, pool.prompt), **self.settings)
        winner, found = self.hold(len(finalists), referee) if finalists else (None, torch.empty(0))
        parts[self.name][finalists] = found.double()
        about: dict[str, float] = {"finalists": len(invited)}
        about |= {name: getattr(referee, name) for name in ("bouts", "ties", "flips", "missing")}
        about["bias"] = referee.bias / max(1, referee.bouts - referee.missing)
        return Elected(None if winner is None else finalists[winner], parts, about)

    def hold(self, count: int, referee: Referee) -> tuple[int | None, Tensor]:
        """Return the winner of a tournament, and what each finalist reached [count].

        Args:
            count: finalists, best seed first; 1 or more.
            referee: decides bouts.
        """
        if self.format == "swiss":
            return swiss(count, referee, self.rounds)
        return (knockout if self.format == "knockout" else round_robin)(count, referee)

    def calls(self, finalists: int) -> int:
        """Return the ordered pairs that are asked about, each sample counted; scores if `final` does not compare.

        Args:
            finalists: how many there are, 0 or more.
        """
        if not hasattr(self.final, "compare"):
            return finalists
        if finalists < 2:
            return 0
        bouts = {
            "knockout": finalists - 1,
            "swiss": held(finalists, self.rounds) * (finalists // 2),
            "roundrobin": finalists * (finalists - 1) // 2,
        }
        return 2 * int(self.settings["samples"]) * bouts[self.format]


def by_questions(compare: Callable[[Media, Media, Sequence[str]], Tensor], media: Media, prompt: str) -> Ask:
    """Return how a comparer decides bouts.

    Args:
        compare: of the comparer.
        media: finalists [n, 3, h, w].
        prompt: of all of them.
    """
    return lambda first, second: compare(media[list(first)], media[list(second)], [prompt] * len(first))


def by_scores(scores: Tensor) -> Ask:
    """Return how scores decide bouts: the higher one wins.

    Args:
        scores: of the finalists [n].
    """
    return lambda first, second: preference(scores[list(first)], scores[list(second)])


def nobody(first: Sequence[int], second: Sequence[int]) -> Tensor:
    """Return no verdict on any pair.

    Args:
        first: candidates shown first.
        second: candidates shown second.
    """
    return torch.full((len(first),), torch.nan)
