"""The guard against over-optimisation: it scores beside a search and after it, and decides nothing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gensearch.core.errors import one_line
from gensearch.core.guard import REFERENCE, Guard, by_split, corrected, shell_distance, thumbnails, variety, warning
from gensearch.core.ledger import Cost, Ledger
from gensearch.core.noise import remake
from gensearch.core.perturb import KINDS, perturbed
from gensearch.core.result import Prefix, Progress, Result, Seen
from gensearch.core.types import Model
from gensearch.engine.booked import billed, paid
from verifiers.adapt import ask
from verifiers.combine import Panel, WeightedSum, leaves
from verifiers.types import Media, Scores, Verifier


class Watch:
    """Notes what a search finds: thumbnails of all finished samples, and hold-out scores of the first ones.

    The first finished sample is scored at once, so that a hold-out which cannot score the prompt says so before the
    budget is spent. Later its exceptions are warnings. The search's clock stands still meanwhile.

    Args:
        panel: The verifiers by role, of which the hold-outs are asked.
        prompt: Of the search.
        first: Finished samples that the hold-outs score, 1 or more; one more than is needed, as the winner may be among
            them.
    """

    def __init__(self, panel: Panel, prompt: str, first: int = REFERENCE + 1) -> None:
        self._panel, self._prompt, self._first = panel, prompt, first
        self._thumbnails: list[torch.Tensor] = []
        self._terms: list[Sequence[float]] = []
        self._aside = Ledger()
        self._reference: dict[str, dict[int, float]] = {name: {} for name in panel.holdout}
        self._seconds = 0.0

    @torch.no_grad()
    def add(self, step: Progress) -> None:
        """Note one round, and what was noted so far in `step.seen`.

        Args:
            step: What the search yielded last.
        """
        began, round = time.monotonic(), step.round
        if round.done:
            first = self._first - len(self._thumbnails)
            if first > 0:
                report = reported if self._thumbnails else asked  # before anything is paid for, an error is raised
                for name, scores in report(self._panel, round.media[:first], self._prompt, self._aside).items():
                    self._reference[name].update(zip(round.ids[:first], scores, strict=True))
            self._thumbnails += thumbnails(round.media)
            self._terms += terms_of(picking(self._panel), step.scores)
        spent = time.monotonic() - began
        step.ledger.started += spent
        self._seconds += spent
        noted = (Prefix(self._thumbnails), self._reference, self._seconds)
        step.seen = Seen(*noted, Prefix(self._terms), self._aside.spent)


def picking(panel: Panel) -> Verifier:
    """The verifier whose scores pick the winner: an election without terms takes those of the guide.

    Args:
        panel: The verifiers by role.
    """
    return panel.select if leaves(panel.select) else panel.guide


def terms_of(picks: Verifier, scores: Scores | None) -> list[list[float]]:
    """What each verifier of a weighted sum added to the score of each sample, NaN if unknown; none for others.

    Args:
        picks: The verifier that picks.
        scores: Its scores of finished samples.
    """
    if scores is None or type(picks) is not WeightedSum:
        return []
    unknown = torch.full_like(scores.total, torch.nan)
    worth = [t.weight * (scores.parts.get(t.verifier.name, unknown) - t.shift) / t.scale for t in picks.terms]
    rows: list[list[float]] = torch.stack(worth, 1).tolist()
    return rows


@torch.no_grad()
def examine(
    found: Result, model: Model, panel: Panel, prompt: str, holdout: Mapping[str, tuple[float, float]]
) -> Guard:
    """What the outcome of a search says about over-optimisation.

    The verifier that picked the winner scores four small changes of winner and first sample once more, unless it is
    remote: those requests would cost money outside the ledger, so its score is NaN instead.

    Args:
        found: The outcome.
        model: The generator.
        panel: The verifiers by role.
        prompt: Of the search.
        holdout: Scores of the winner and of the first sample by each hold-out.
    """
    began, best, base, picks = time.monotonic(), found.best, found.base, picking(panel)
    score, error, calls = best.score, 0.0, 0
    if paid(picks):
        score = error = torch.nan
    elif best.id != base.id:
        both = torch.stack([best.media, base.media])
        again = torch.tensor([survived(picks, perturbed(both, kind), prompt, Ledger()) for kind in KINDS])  # [4, 2]
        score, error = corrected(base.score, again[:, 0].tolist(), again[:, 1].tolist())
        score = min(score, best.score)  # what selection added is taken off; nothing is added
        calls = again.numel() * len(leaves(picks))
    noted = found.seen.reference
    reference = {name: tuple(s for i, s in of.items() if i != best.id)[:REFERENCE] for name, of in noted.items()}
    said = [warning(n, (best.score, base.score), holdout[n], scores) for n, scores in reference.items() if n in holdout]
    distance, distinct = (
        variety(torch.stack(list(found.seen.thumbnails))) if found.seen.thumbnails else (torch.nan, 0.0)
    )
    tokens = "tokens" in model.verbs
    return Guard(
        corrected=score,
        error=error,
        distance=distance,
        distinct=distinct,
        shell=torch.nan if tokens else shell_distance(remake(best.recipe, model.noise_shape)),
        reference=reference,
        warnings=tuple(filter(None, said)),
        scored=calls + 2 * len(holdout) + sum(map(len, noted.values())),
        seconds=found.seen.seconds + time.monotonic() - began,
        split=by_split(torch.tensor(found.seen.terms)) if found.seen.terms else torch.nan,
    )


def asked(panel: Panel, media: Media, prompt: str, aside: Ledger) -> dict[str, list[float]]:
    """Scores by each hold-out, name -> [b].

    Args:
        panel: The verifiers by role.
        media: Pictures or clips [b, ...].
        prompt: Of all of them.
        aside: The account that they are booked in.
    """
    return {name: booked_aside(verifier, media, prompt, aside).tolist() for name, verifier in panel.holdout.items()}


def reported(panel: Panel, media: Media, prompt: str, aside: Ledger) -> dict[str, list[float]]:
    """Scores by each hold-out, name -> [b]; NaN and a warning for one that raises, since the media were paid for.

    Args:
        panel: The verifiers by role.
        media: Pictures or clips [b, ...].
        prompt: Of all of them.
        aside: The account that they are booked in.
    """
    return {name: survived(verifier, media, prompt, aside, "the hold-out ") for name, verifier in panel.holdout.items()}


@torch.no_grad()
def booked_aside(verifier: Verifier, media: Media, prompt: str, aside: Ledger) -> Tensor:
    """Scores [b] by a verifier, which an account of their own pays for.

    Args:
        verifier: Any.
        media: Pictures or clips [b, ...].
        prompt: Of all of them.
        aside: The account.
    """
    with billed(verifier, aside):
        found = ask(verifier, media, [prompt] * len(media)).total
    aside.charge(Cost(scored=len(media)))
    return found


def survived(verifier: Verifier, media: Media, prompt: str, aside: Ledger, role: str = "") -> list[float]:
    """Scores [b]; NaN and a warning if the verifier raises.

    Args:
        verifier: Any.
        media: Pictures or clips [b, ...].
        prompt: Of all of them.
        aside: The account that they are booked in.
        role: What the warning calls the verifier, before its name.
    """
    try:
        found: list[float] = booked_aside(verifier, media, prompt, aside).tolist()
    except Exception as error:
        warnings.warn(f"{role}{verifier.name} gave no score: {one_line(error)}", stacklevel=3)
        return [torch.nan] * len(media)
    return found
