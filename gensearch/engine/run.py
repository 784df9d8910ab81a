"""Run a search: `stream` yields after every round, `run` drains it and says why it stopped."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from math import ceil
from typing import Any, cast, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from gensearch.config.run import MAX_PROMPT, check_characters, refuse_selector
from gensearch.core.errors import nearest, rule
from gensearch.core.ledger import BudgetSpent, Cost, Ledger
from gensearch.core.noise import SEED_BITS, Rng, gaussian
from gensearch.core.result import Node, Point, Progress, Result, Sample
from gensearch.core.sampling import price
from gensearch.core.types import Model, Round, Search
from gensearch.engine.metered import MeteredModel, MeteredProposal, MeteredVerifier, NothingScored
from gensearch.engine.motion import Dynamics
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
    endless = open_ended(search)
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
                base = base or sample(round, scores, 0)
                if vote:
                    pool += [sample(round, scores, row) for row in range(len(round.ids))]
                    best = pool[vote.winner([candidate.parts for candidate in pool])]
                else:
                    found = sample(round, scores, int(scores.total.argmax()))
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


def sample(round: Round, scores: Scores, row: int) -> Sample:
    """One row of a round as a record of its own, detached from any graph."""
    parts = {name: values[row].item() for name, values in scores.parts.items()}
    media = round.media[row].detach().clone()
    return Sample(round.ids[row], media, scores.total[row].item(), parts, round.recipes[row], round.parents[row])


def knobs_of(search: Search) -> dict[str, inspect.Parameter]:
    """The knobs of a search: its keyword-only parameters, less those that `stream` fills in."""
    given = {"rng", "ledger", "propose"}
    parameters = inspect.signature(search).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY and k not in given}


def open_ended(search: Search) -> list[str]:
    """Knobs that bound the length of a search when they are set: those whose default is None."""
    return [name for name, p in knobs_of(search).items() if p.default is None]


def check(prompt: str, seed: int, compute: float | None) -> None:
    """Refuse bad arguments before anything is spent; raises ValueError naming the value, the rule and the next step."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("the prompt is empty; say what the picture should show")
    if len(prompt) > MAX_PROMPT:
        raise ValueError(f"the prompt has {len(prompt)} characters; the longest allowed is {MAX_PROMPT}. Shorten it")
    check_characters(prompt)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**SEED_BITS:
        raise ValueError(f"seed {seed} is out of range; take an integer from 0 to 2^{SEED_BITS} - 1")
    number = isinstance(compute, int | float) and not isinstance(compute, bool)
    if compute is not None and not (number and 1 <= compute < float("inf")):
        raise ValueError(f"compute {compute!r} cannot be: one sample costs 1, so give a finite number from 1 up")


def checked_knobs(search: Search, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs as the search's annotations want them ("3" becomes 3); raises ValueError for an unknown or unfit one.

    Ranges are part of an annotation: `n: PositiveInt`, `cosine: Annotated[float, Field(gt=-1, lt=1)]`.
    """
    known = [*knobs_of(search), "propose"]
    fit = {}
    for name, value in knobs.items():
        if name not in known:
            raise ValueError(f"unknown knob {name!r} for {search.__name__}{nearest(name, known)}")
        adapter = annotation(search, name)  # type: ignore[arg-type]  # a function has a hash
        try:
            fit[name] = adapter.validate_python(value, strict=isinstance(value, bool) or None)  # true is no number
        except ValidationError as error:
            raise ValueError(f"knob {name} of {search.__name__} is {value!r}: {rule(error, adapter)}") from None
    return fit


@lru_cache(256)  # read once, not for every prompt
def annotation(search: Search, name: str) -> TypeAdapter[Any]:
    """What a search says that a knob of its may be."""
    hints = get_type_hints(search, include_extras=True)
    return TypeAdapter(hints.get(name, Any), config=ConfigDict(arbitrary_types_allowed=True))
