"""Run a search: `stream` yields its progress after every round, `run` returns its result."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import copy
from itertools import accumulate
from math import ceil, inf
from typing import Any, cast

import torch

from gensearch.core.ledger import BudgetSpent, Cost, Ledger
from gensearch.core.limits import check, refuse_selector
from gensearch.core.noise import Rng, gaussian
from gensearch.core.price import election, price
from gensearch.core.result import Node, Point, Prefix, Progress, Result, Sample
from gensearch.core.sampling import sizes_behind
from gensearch.core.types import Model, Round, Search, Sizes
from gensearch.engine.election import Ballot
from gensearch.engine.endings import broken_off, nothing_scored
from gensearch.engine.job import Job
from gensearch.engine.metered import MeteredModel, MeteredProposal, MeteredVerifier
from gensearch.engine.motion import Dynamics
from gensearch.search.knobs import bounded, bounds
from verifiers.adapt import as_verifier
from verifiers.combine import Elector, Panel, leaves
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

    Samples without a score never win. An exception in a later round ends the search with a warning and is recorded in
    the last progress, which keeps the best so far.

    Args:
        search: The algorithm.
        model: The generator.
        verifier: Guides the search.
        prompt: What the picture or clip should show, 1 to 2000 characters.
        compute: Budget in multiples of one sample's cost, 1 or more; None where a knob or `limit` bounds the search.
        limit: The most that columns of the ledger may reach, by name, 0 or more each.
        seed: Everything random comes from it, 0 to 2^53 - 1.
        select: Picks the best among finished samples instead of the guide. An Elector, such as a RankVote, elects it
            among all of them, after each round or once at the end, and keeps their media until then.
        knobs: Arguments of the search, and `propose`, a proposal for the noise that it starts from.

    Raises:
        ValueError: At once, for a bad prompt, seed, budget, knob or role.
        BudgetSpent: At once, if the budget cannot finish one sample.
        NothingScored: At the end, if no sample could be scored.
        Exception: Whatever the verifier or a network raises before a sample was finished and scored.
    """
    verifier, select = as_verifier(verifier), select if select is None else as_verifier(select)
    chooser = copy(select) if select is verifier else select  # one verifier in two roles scores in each
    job = Job(model, search, Panel(verifier, chooser))  # type: ignore[arg-type]  # None: the guide
    return start(job.changed(compute=compute, limit=limit, **knobs), prompt, seed)


def start(job: Job, prompt: str, seed: int = 0) -> Iterator[Progress]:
    """Run a job on a prompt: as `stream`, whose arguments it holds.

    Args:
        job: What to run; its parts are trusted to fit.
        prompt: What the picture or clip should show, 1 to 2000 characters.
        seed: Everything random comes from it, 0 to 2^53 - 1.

    Raises:
        ValueError: At once, for a bad prompt, seed or budget, a search that would never stop, and a control that a
            verifier should select for.
        BudgetSpent: At once, if the budget cannot finish one sample.
    """
    check(prompt, seed, job.compute)
    seed = operator.index(seed)  # also NumPy's
    if job.select:
        refuse_selector(job.select.name, job.search.__name__)
    ledger, knobs, propose = Ledger(job.limits), dict(job.knobs), job.propose
    ledger.reserved = election(job.panel.select)
    if propose is not gaussian:  # plain noise stays itself: recipes name its seeds
        propose = getattr(propose, "rooted", lambda root: job.propose)(seed)
        knobs["propose"] = MeteredProposal(propose, ledger)
    unit = price(job.model, job.panel.guide, *([job.select] if job.select else []), propose=propose)
    refuse_endless(job, ledger, unit)
    if job.compute is not None and unit.work > int(job.compute * price(job.model).work):
        least = ceil(unit.work / price(job.model).work)
        raise ValueError(f"compute {job.compute:g} pays for no sample with its proposed noise; use --compute {least}")
    ledger.require(f"one sample of {job.model.name}", unit)
    return _stream(job, prompt, ledger, Rng(seed), unit, knobs)


def refuse_endless(job: Job, ledger: Ledger, unit: Cost) -> None:
    """Refuse a search that neither a knob nor the ledger ends.

    Args:
        job: What to run.
        ledger: Pays for it.
        unit: The cost of one sample.

    Raises:
        ValueError: It would never stop.
    """
    endless = bounds(job.search)
    if endless and not bounded(job.search, job.knobs) and ledger.affords(unit) == float("inf"):
        ways = " or ".join(endless)
        raise ValueError(f"{job.search.__name__} would never stop: give compute, a limit or {ways}")


def run(*args: Any, **kwargs: Any) -> Result:
    """Run a search to its end; arguments and errors as for `stream`."""
    last = deque(stream(*args, **kwargs), maxlen=1)
    return result(last[0] if last else None)


def result(progress: Progress | None, closed: bool = False) -> Result:
    """The outcome of a search.

    Args:
        progress: The last that it yielded; None if it yielded nothing.
        closed: Whether the caller ended it.

    Raises:
        BudgetSpent: No sample was finished.
        NothingScored: Samples were finished, and each was vetoed or unscored.
    """
    if progress is None or progress.base is None:
        raise BudgetSpent("the search ended before it finished one sample; give it more compute")
    if progress.best is None:
        raise nothing_scored(progress)
    ledger = progress.ledger
    spent_out = ledger.affords(progress.unit) < 1
    stopped = "closed" if closed else progress.stopped or ("budget" if spent_out else "finished")
    unspent = {} if spent_out else {column: int(ledger.left(column)) for column in ledger.limit}
    found = (progress.best, progress.base, tuple(progress.curve), tuple(progress.lineage))
    return Result(
        *found,
        ledger,
        progress.unscored,
        stopped,
        motion=progress.motion,
        election=progress.election,
        seen=progress.seen,
        error=progress.error,
        trace=progress.trace,
        rounds=tuple(progress.rounds),
        unspent=unspent,
    )


def _stream(
    job: Job, prompt: str, ledger: Ledger, rng: Rng, unit: Cost, knobs: Mapping[str, Any]
) -> Iterator[Progress]:
    guide = MeteredVerifier(job.panel.guide, ledger, job.select)
    chooser = MeteredVerifier(job.select, ledger) if job.select and leaves(job.select) else None
    ballot = Ballot(job.select, ledger, prompt) if isinstance(job.select, Elector) else None
    best: Sample | None = None
    base: Sample | None = None
    curve: list[Point] = []  # these three only grow: each progress has a view of the part that was there
    lineage: list[Node] = []
    sizes: list[int] = []
    last: Progress | None = None
    dynamics = Dynamics()

    def unscored() -> int:
        return guide.unscored + (chooser.unscored if chooser else 0)

    metered = MeteredModel(job.model, ledger)
    rounds = cast(Generator[Round], job.search(metered, guide, prompt, rng=rng, ledger=ledger, **knobs))
    try:
        for round in rounds:
            scores = None
            if round.done:
                scores = scored(pick(chooser, round, prompt) if chooser else round.scores)
                made_in = sizes_behind(job.model, round)
                base = base or sample(round, scores, 0, made_in)
                if ballot:
                    best = ballot.add([sample(round, scores, row, made_in) for row in range(len(round.ids))])
                else:
                    found = sample(round, scores, int(scores.total.argmax()), made_in)
                    best = found if found.score > (best.score if best else -inf) else best
                curve += climb(curve[-1] if curve else None, ledger, scores.total.tolist())
                lineage += map(Node, round.ids, round.parents, round.recipes, scores.total.tolist())
                sizes.append(len(round.ids))
            dynamics.add(round)
            motion = dynamics.of(best.id) if best else None
            views = (Prefix(curve), Prefix(lineage))
            last = Progress(round, best, base, *views, ledger, unscored(), unit, motion, rounds=Prefix(sizes))
            last.scores = scores
            yield last
        if last and last.base and not last.best:
            raise nothing_scored(last)
    except Exception as error:
        if last is None or last.best is None:
            raise
        last.unscored = unscored()
        if not isinstance(error, BudgetSpent):
            broken_off(last, error)
    finally:
        rounds.close()
    if ballot and last:
        elect(ballot, last)


def elect(ballot: Ballot, last: Progress) -> None:
    """Hold the election of a search that is over; if an exception ends it, the leader stays.

    Args:
        ballot: With all candidates.
        last: That the search yielded; gets the winner.
    """
    try:
        ballot.decide(last)
    except Exception as error:
        broken_off(last, error)


def climb(last: Point | None, ledger: Ledger, totals: Sequence[float]) -> list[Point]:
    """The curve's points for one more round, one for each sample; its samples share what it spent equally.

    Args:
        last: The curve's last point so far; None before the first round.
        ledger: What was spent, the round included.
        totals: The round's scores.
    """
    before = last or Point(Cost(), 0.0, float("-inf"))
    points = []
    for count, best in enumerate(accumulate(totals, max, initial=before.best)):
        share = count / len(totals)
        spent = Cost(*(int(a + (b - a) * share) for a, b in zip(before.spent, ledger.spent, strict=True)))
        points.append(Point(spent, before.seconds + (ledger.seconds - before.seconds) * share, best))
    return points[1:]


def scored(scores: Scores) -> Scores:
    """Scores in which whatever is no finite number, also of a search that asked a verifier of its own, is -inf.

    Args:
        scores: Of a round.
    """
    return scores._replace(total=scores.total.masked_fill(~scores.total.isfinite(), -inf))


@torch.no_grad()
def pick(select: Verifier, round: Round, prompt: str) -> Scores:
    """The selector's scores of a round.

    Args:
        select: The selector.
        round: What a search yielded.
        prompt: Of the search.
    """
    return select(round.media, [prompt] * len(round.ids))


def sample(round: Round, scores: Scores, row: int, made_in: Sequence[Sizes]) -> Sample:
    """One row of a round as a record of its own, detached from any graph.

    Args:
        round: What a search yielded.
        scores: Of the verifier that selects.
        row: Which sample, 0 or more.
        made_in: The sizes of the physical batches of each sample.
    """
    parts = {name: values[row].item() for name, values in scores.parts.items()}
    media = round.media[row].detach().clone()
    own = (round.ids[row], media, scores.total[row].item(), parts, round.recipes[row], round.parents[row])
    return Sample(*own, made_in[row])
