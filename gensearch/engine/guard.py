"""The guard against over-optimisation: it scores beside a search and after it, and decides nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from gensearch.core.guard import REFERENCE, Guard, corrected, shell_distance, thumbnails, variety, warning
from gensearch.core.noise import remake
from gensearch.core.perturb import KINDS, perturbed
from gensearch.core.result import Prefix, Progress, Result, Seen
from gensearch.core.types import Model
from verifiers.combine import Panel, leaves


class Watch:
    """Notes what a search finds: thumbnails of all finished samples, and hold-out scores of the first ones.

    The first finished sample is scored at once, so that a hold-out which cannot score the prompt says so before the
    budget is spent. The search's clock stands still meanwhile.

    Args:
        panel: The verifiers by role, of which the hold-outs are asked.
        prompt: Of the search.
    """

    def __init__(self, panel: Panel, prompt: str) -> None:
        self._panel, self._prompt = panel, prompt
        self._thumbnails: list[torch.Tensor] = []
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
            first = REFERENCE + 1 - len(self._thumbnails)  # one more, as the winner may be among them
            if first > 0:
                scores = self._panel.report(round.media[:first], [self._prompt] * len(round.media[:first]))
                for name, total in scores.items():
                    self._reference[name].update(zip(round.ids[:first], total.tolist(), strict=True))
            self._thumbnails += thumbnails(round.media)
        spent = time.monotonic() - began
        step.ledger.started += spent
        self._seconds += spent
        step.seen = Seen(Prefix(self._thumbnails), self._reference, self._seconds)


@torch.no_grad()
def examine(
    found: Result, model: Model, panel: Panel, prompt: str, holdout: Mapping[str, tuple[float, float]]
) -> Guard:
    """What the outcome of a search says about over-optimisation.

    The verifier that picked the winner scores four small changes of winner and first sample once more.

    Args:
        found: The outcome.
        model: The generator.
        panel: The verifiers by role.
        prompt: Of the search.
        holdout: Scores of the winner and of the first sample by each hold-out.
    """
    began, best, base = time.monotonic(), found.best, found.base
    score, error, asked = best.score, 0.0, 0
    if best.id != base.id:
        both = torch.stack([best.media, base.media])
        again = torch.stack([panel.select(perturbed(both, kind), [prompt] * 2).total for kind in KINDS])  # [4, 2]
        score, error = corrected(base.score, again[:, 0].tolist(), again[:, 1].tolist())
        asked = again.numel() * len(leaves(panel.select))
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
        scored=asked + 2 * len(holdout) + sum(map(len, noted.values())),
        seconds=found.seen.seconds + time.monotonic() - began,
    )
