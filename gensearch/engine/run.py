"""Run a search: `stream` yields after every round, `run` drains it and says why it stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Any, cast

import torch

from gensearch.core.errors import NothingScored
from gensearch.core.ledger import BudgetSpent, Cost, Ledger
from gensearch.core.limits import check, refuse_selector
from gensearch.core.noise import Rng, gaussian
from gensearch.core.price import price
from gensearch.core.result import Node, Point, Progress, Result, Sample
from gensearch.core.sampling import sizes_behind
from gensearch.core.types import Model, Round, Search
from gensearch.engine.metered import MeteredModel, MeteredProposal, MeteredVerifier
from gensearch.engine.motion import Dynamics
from gensearch.search.knobs import bounds, checked_knobs
from verifiers.combine import RankVote
from verifiers.types import Scores, Verifier


def stream(
    search: Search,
    model: Model,
    verifier: Verifier,
    prompt: str,
    *,
    compute: float | None = None,
    limit: Mapping[str, int] | None = None,
    seed: int = 0,
    select: Verifier | None = None,
    **knobs: Any,
) -> Iterator[Progress]:
    """Start a search and return an iterator over its progress; closing it keeps what was found.

    `compute` is the budget in prices of one ordinary sample of this model; `limit` caps columns of the ledger directly.
    `verifier` guides; `select`, if given, picks the best among finished samples instead. A RankVote elects it anew
    among all of them after each round, and keeps their media until the end. A round in which nothing could be scored
    ends the search, or raises ValueError if it is the first. Raises ValueError at once on a bad prompt, seed, budget
    or knob and on a control with `select`, and BudgetSpent if the budget cannot finish one sample.
    """
    check(prompt, seed, compute)
    if select:
        refuse_selector(select.name, search.__name__)
    knobs = checked_knobs(search, knobs)
    limits = dict(limit or {})
    if compute is not None:
        limits["work"] = min(int(compute * price(model).work), limits.get("work", 2**62))
    ledger = Ledger(limits)
    propose = knobs.get("propose", gaussian)
    if propose is not gaussian:  # plain noise stays itself: recipes name its seeds
        propose = getattr(propose, "rooted", lambda root: propose)(seed)
        knobs["propose"] = MeteredProposal(propose, ledger)
    unit = price(model, verifier, *([select] if select else []), propose=propose)
    endless = bounds(search)
    if endless and all(knobs.get(name) is None for name in endless) and ledger.affords(unit) == float("inf"):
        raise ValueError(f"{search.__name__} would never stop: give compute, a limit or {' or '.join(endless)}")
    if compute is not None and unit.work > int(compute * price(model).work):
        least = ceil(unit.work / price(model).work)
        raise ValueError(f"compute {compute:g} pays for no sample with its proposed noise; use --compute {least}")
    ledger.require(f"one sample of {model.name}", unit)
    return _stream(search, model, verifier, prompt, ledger, Rng(seed), select, unit, knobs)


def run(*args: Any, **kwargs: Any) -> Result:
    """Drain `stream` with the same arguments and return its result."""
    last = deque(stream(*args, **kwargs), maxlen=1)
    return result(last[0] if last else None)


def result(progress: Progress | None, closed: bool = False) -> Result:
    """The result of a search that ended, or was closed by the caller, at `progress`."""
    if progress is None or progress.best is None or progress.base is None:
        raise BudgetSpent("the search ended before it finished one sample; give it more compute")
    spent_out = progress.ledger.affords(progress.unit) < 1
    stopped = "closed" if closed else progress.stopped or ("budget" if spent_out else "finished")
    found = (progress.best, progress.base, progress.curve, progress.lineage)
    return Result(*found, progress.ledger, progress.unscored, stopped, progress.motion)


def _stream(
    search: Search,
    model: Model,
    verifier: Verifier,
    prompt: str,
    ledger: Ledger,
    rng: Rng,
    select: Verifier | None,
    unit: Cost,
    knobs: dict[str, Any],
) -> Iterator[Progress]:
    guide = MeteredVerifier(verifier, ledger, select)
    judge = MeteredVerifier(select, ledger) if select else None
    vote = select if isinstance(select, RankVote) else None
    pool: list[Sample] = []  # of the vote
    best: Sample | None = None
    base: Sample | None = None
    curve: tuple[Point, ...] = ()
    lineage: tuple[Node, ...] = ()
    last: Progress | None = None
    dynamics = Dynamics()

    def unscored() -> int:
        return guide.unscored + (judge.unscored if judge else 0)

    metered = MeteredModel(model, ledger)
    rounds = cast(Generator[Round], search(metered, guide, prompt, rng=rng, ledger=ledger, **knobs))
    try:
        for round in rounds:
            if round.done:
                scores = pick(judge, round, prompt) if judge else round.scores
                base = base or sample(model, round, scores, 0)
                if vote:
                    pool += [sample(model, round, scores, row) for row in range(len(round.ids))]
                    best = pool[vote.winner([candidate.parts for candidate in pool])]
                else:
                    found = sample(model, round, scores, int(scores.total.argmax()))
                    best = found if best is None or found.score > best.score else best
                curve += climb(curve, ledger, scores.total.tolist())
                lineage += tuple(map(Node, round.ids, round.parents, round.recipes, scores.total.tolist()))
            dynamics.add(round)
            motion = dynamics.of(best.id) if best else None
            last = Progress(round, best, base, curve, lineage, ledger, unscored(), unit, motion)
            yield last
    except (BudgetSpent, NothingScored) as error:
        if last is None or last.best is None:
            raise
        if isinstance(error, NothingScored):
            last.stopped, last.unscored = "unscorable", unscored()
    finally:
        rounds.close()


def climb(curve: tuple[Point, ...], ledger: Ledger, totals: Sequence[float]) -> tuple[Point, ...]:
    """The curve's points for one more round, one per sample; its samples share what it spent equally."""
    before = curve[-1] if curve else Point(Cost(), 0.0, float("-inf"))
    points = []
    for count, best in enumerate(accumulate(totals, max, initial=before.best)):
        share = count / len(totals)
        spent = Cost(*(int(a + (b - a) * share) for a, b in zip(before.spent, ledger.spent, strict=True)))
        points.append(Point(spent, before.seconds + (ledger.seconds - before.seconds) * share, best))
    return tuple(points[1:])


@torch.no_grad()
def pick(judge: Verifier, round: Round, prompt: str) -> Scores:
    """What the judge that selects says about a round."""
    return judge(round.media, [prompt] * len(round.ids))


def sample(model: Model, round: Round, scores: Scores, row: int) -> Sample:
    """One row of a round as a record of its own, detached from any graph."""
    parts = {name: values[row].item() for name, values in scores.parts.items()}
    media = round.media[row].detach().clone()
    made_in = sizes_behind(model, round)[row]
    own = (round.ids[row], media, scores.total[row].item(), parts, round.recipes[row], round.parents[row])
    return Sample(*own, made_in)
