"""Elections in a search: who wins, what it costs, what is reserved and refused, and calls of the dear verifier."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import pytest
import torch

from gensearch.core.errors import NothingScored
from gensearch.core.ledger import BudgetSpent, Cost
from gensearch.core.price import election, price
from gensearch.engine.job import Job
from gensearch.engine.run import result, run, start, stream
from gensearch.estimate import rehearse
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.zero_order import zero_order
from tests.builders.comparers import Fair, worth
from verifiers.combine import Agreement, Cascade, Panel, RankVote, Term, Veto, WeightedSum, ZSum
from verifiers.controls.random import RandomScore
from verifiers.tournament.elector import FORMATS, Tournament
from verifiers.types import Scores

MODEL = GaussianTurbo((3, 3, 3))
PROMPT = "a star"


class Channel:
    """Mean of one channel; counts its calls, and may refuse to score or veto everything."""

    differentiable = False

    def __init__(self, channel, says=None, batch_size=None):
        self.channel, self.name, self.says = channel, f"channel{channel}", says
        self.calls = 0
        if batch_size:
            self.batch_size = batch_size

    def __call__(self, media, prompts, *, progress=1.0):
        self.calls += len(media)
        total = media[:, self.channel].flatten(1).double().mean(1)
        return Scores(total if self.says is None else torch.full_like(total, self.says))


def drawn(n):
    """All samples of the search, as the guide sees them."""
    return torch.cat([p.round.media for p in stream(best_of_n, MODEL, Channel(0), PROMPT, n=n)])


@pytest.mark.parametrize("cheap", [None, Channel(0), Channel(1)])
@pytest.mark.parametrize("keep", [1, 4, 11, 30])
def test_a_cascade_calls_the_dear_verifier_on_its_finalists_alone(cheap, keep):
    dear, media = Channel(2), drawn(11)
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=11, select=Cascade(cheap, dear, keep=keep))
    channel = 1 if cheap is not None and cheap.channel == 1 else 0
    first = media[:, channel].double().mean((1, 2)).argsort(descending=True)[:keep]
    winner = max(first.tolist(), key=lambda i: float(media[i, 2].double().mean()))
    assert torch.equal(found.best.media, media[winner])
    assert found.best.id == winner
    assert found.best.score == pytest.approx(float(media[winner, channel].double().mean()))
    assert found.best.parts["channel2"] == pytest.approx(float(media[winner, 2].double().mean()))
    assert dear.calls == min(keep, 11)
    assert found.election is not None
    assert (found.election.candidates, found.election.calls, found.election.without_shortlist) == (
        11,
        min(keep, 11),
        11,
    )
    assert found.ledger.spent.scored == 11 * (1 if cheap is None else 2) + min(keep, 11)
    assert found.ledger.reserved == Cost()
    assert f"{min(keep, 11)} calls" in str(found.election)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("n", [1, 5, 12])
def test_a_tournament_of_pairs_is_booked_pair_by_pair(form, n):
    comparer = Fair(0.8)
    elector = Tournament(None, comparer, format=form, keep=6, samples=2)
    found, media = run(best_of_n, MODEL, Channel(0), PROMPT, n=n, select=elector), drawn(n)
    finalists = media[:, 0].double().mean((1, 2)).argsort(descending=True)[:6].tolist()
    assert found.best.id == max(finalists, key=lambda i: float(worth(media)[i]))
    assert found.ledger.spent.scored == n + comparer.asked
    assert comparer.asked == elector.calls(min(n, 6))
    assert found.election is not None
    assert found.election.calls == comparer.asked
    assert found.election.without_shortlist == elector.calls(n)
    assert found.election.about["bouts"] * 4 == comparer.asked


def test_comparisons_fill_physical_batches():
    comparer: Any = Fair()
    comparer.batch_size = 4
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=8, select=Tournament(None, comparer, keep=8))
    assert (found.ledger.spent.scored, found.ledger.padding.scored) == (8 + 14, 0)
    assert comparer.asked == 14


@pytest.mark.parametrize(
    "elector", [Cascade(Channel(1), Channel(2)), Tournament(None, Fair()), Tournament(None, Channel(2))]
)
def test_the_election_is_priced_rehearsed_and_refused_before_anything_is_spent(elector):
    most = election(elector).scored
    assert most == elector.calls(elector.keep)
    job = Job(MODEL, best_of_n, Panel(Channel(0), elector), {"n": 12})
    *_, last = start(job, PROMPT)
    assert rehearse(job, PROMPT, 0).spent == last.ledger.spent
    assert last.ledger.spent.scored == 12 * price(MODEL, Channel(0), elector).scored + most
    least = price(MODEL, Channel(0), elector).scored + most
    with pytest.raises(BudgetSpent, match=rf"beside {most} for the end. Raise the limit on scored to {least}"):
        start(job.changed(limit={"scored": least - 1}), PROMPT)
    *_, last = start(job.changed(limit={"scored": least}), PROMPT)
    assert last.ledger.spent.scored <= least
    assert last.best is not None


@pytest.mark.parametrize("extra", range(0, 12, 3))
def test_a_limit_on_scores_is_kept_and_still_pays_the_election(extra):
    elector = Cascade(None, Channel(2), keep=3)
    found = run(zero_order, MODEL, Channel(0), PROMPT, limit={"scored": 8 + extra}, select=elector)
    assert 3 < found.ledger.spent.scored <= 8 + extra
    assert found.election is not None
    assert found.election.calls == 3


def test_a_dear_sum_costs_one_call_of_each_of_its_verifiers():
    dear = WeightedSum(Term(Channel(1)), Term(Channel(2)))
    elector = Cascade(None, dear, keep=4)
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=10, select=elector)
    assert election(elector).scored == 8 == found.ledger.spent.scored - 10
    assert found.election is not None
    assert (found.election.calls, found.election.without_shortlist) == (8, 20)


def test_until_the_end_the_best_score_leads_and_a_closed_search_keeps_it():
    elector = Cascade(None, Channel(2), keep=8)
    rounds = stream(best_of_n, MODEL, Channel(0), PROMPT, n=20, select=elector)
    assert isinstance(rounds, Generator)
    first = next(rounds)
    assert first.best is not None
    assert first.best.score == max(first.round.scores.total.tolist())
    rounds.close()
    closed = result(first, closed=True)
    assert (closed.stopped, closed.election) == ("closed", None)
    assert closed.best.id == first.best.id


@pytest.mark.parametrize("elector", [RankVote, lambda *v: ZSum(*map(Term, v)), Agreement])
def test_votes_are_held_after_each_round_and_cost_nothing_more(elector):
    chosen = elector(Channel(1), Channel(2))
    progress = [
        (p.best and p.best.id, p.ledger.spent.scored)
        for p in stream(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=chosen)
    ]
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=chosen)
    assert progress[-1] == (found.best.id, 27)
    assert found.election is None


def test_finalists_without_a_verdict_are_no_silent_win():
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=Cascade(None, Channel(2, math.nan), keep=4))
    assert found.stopped == "unscorable"
    assert found.best.score == max(node.score for node in found.lineage)
    assert found.election is not None
    assert found.election.about["missing"] == 4


@pytest.mark.parametrize("form", [Cascade, Tournament])
def test_vetoed_finalists_never_win(form):
    dear = Veto(Channel(2), (Channel(1, 0.2), ">=", 0.5))
    with pytest.raises(NothingScored, match="every finished sample was vetoed"):
        run(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=form(None, dear, keep=3))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_a_veto_selects_among_what_passes_and_the_search_goes_on_without(seed, share):
    dice = RandomScore(seed)
    media = drawn(40)
    passed = dice(media, [PROMPT] * 40).total >= 1 - share
    veto = Veto(Channel(1), (dice, ">=", 1 - share))
    if not passed.any():
        with pytest.raises(NothingScored, match="relax the veto"):
            run(best_of_n, MODEL, Channel(0), PROMPT, n=40, select=veto)
        return
    found = run(best_of_n, MODEL, Channel(0), PROMPT, n=40, select=veto)
    worths = media[:, 1].double().mean((1, 2)).masked_fill(~passed, -math.inf)
    assert found.best.id == int(worths.argmax())
    assert found.unscored == int((~passed).sum())
    assert found.stopped == "finished"


def test_a_vetoing_guide_never_returns_a_vetoed_sample():
    veto = Veto(Channel(1), (RandomScore(), ">=", 0.6))
    found = run(best_of_n, MODEL, veto, PROMPT, n=40)
    assert found.best.parts["random"] >= 0.6
    with pytest.raises(NothingScored):
        run(best_of_n, MODEL, Veto(Channel(1), (RandomScore(), ">=", 2.0)), PROMPT, n=40)


class Broken(Channel):
    """Raises instead of scoring."""

    def __call__(self, media, prompts, *, progress=1.0):
        raise RuntimeError("no memory left")


@pytest.mark.parametrize("form", [Cascade, Tournament])
def test_an_election_that_fails_keeps_the_leader(form):
    with pytest.warns(UserWarning, match="the search ended early, .* of 9 samples: .*no memory left"):
        found = run(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=form(None, Broken(2), keep=3))
    assert found.stopped == "error"
    assert "no memory left" in found.error
    assert found.best.score == max(node.score for node in found.lineage)


def test_functions_decide_elections_too():
    def mean(media, prompts):
        return media[:, 2].double().mean((1, 2)).tolist()

    blue: Any = mean
    for form in (Cascade, Tournament):
        found = run(best_of_n, MODEL, Channel(0), PROMPT, n=9, select=form(None, blue, keep=9))
        assert found.best.id == int(drawn(9)[:, 2].double().mean((1, 2)).argmax())
