"""Knockout, Swiss and round robin: exact counts, the best wins, ties and missing verdicts are never silent."""

from __future__ import annotations

import math

import pytest
import torch

from tests.builders.comparers import Fair, Noisy, Placed, Silent, grey
from verifiers.combine import Pool
from verifiers.controls.redness import Redness
from verifiers.tournament.elector import FORMATS, Tournament
from verifiers.tournament.knockout import knockout
from verifiers.tournament.round_robin import round_robin
from verifiers.tournament.swiss import held, swiss
from verifiers.types import Scores

HOLD = {"knockout": knockout, "swiss": swiss, "roundrobin": round_robin}
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 11, 16]


def pool(values, scores=None):
    """Grey pictures of these means; the shortlist goes by `scores`, by default the order of the pool."""
    order = torch.arange(len(values), 0, -1, dtype=torch.float64) if scores is None else torch.tensor(scores)
    return Pool("a star", list(grey(values)), order, {})


def shuffled(count, seed):
    return ((torch.randperm(count, generator=torch.Generator().manual_seed(seed)) + 1) / (count + 1)).tolist()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("samples", [1, 3])
def test_the_number_of_questions_is_exact_and_known_before(size, samples):
    bouts = {
        "knockout": size - 1,
        "swiss": math.ceil(math.log2(size)) * (size // 2),
        "roundrobin": size * (size - 1) // 2,
    }
    for form in FORMATS:
        comparer = Fair()
        elector = Tournament(None, comparer, format=form, keep=size, samples=samples)
        found = elector.elect(pool(shuffled(size, 1)))
        assert comparer.asked == elector.calls(size) == 2 * samples * bouts[form]
        assert found.about["bouts"] == bouts[form]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(8))
def test_the_best_wins_in_every_order(form, size, seed):
    values = shuffled(size, seed)
    found = Tournament(None, Fair(0.7), format=form, keep=size).elect(pool(values))
    assert found.winner == values.index(max(values))
    assert found.about["ties"] == found.about["flips"] == found.about["missing"] == 0


@pytest.mark.parametrize("form", FORMATS)
def test_a_preferred_place_gives_ties_and_the_better_seed_wins(form):
    values = shuffled(8, 0)
    found = Tournament(None, Placed(2.0), format=form).elect(pool(values, [float(i == 5) for i in range(8)]))
    assert found.winner == 5
    assert found.about["ties"] == found.about["flips"] == found.about["bouts"] > 0
    assert found.about["bias"] == pytest.approx(0.8)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_without_any_verdict_nobody_wins(form, size):
    found = Tournament(None, Silent(2.0), format=form).elect(pool(shuffled(size, 0)))
    assert found.winner is None
    assert found.about["missing"] == found.about["bouts"] > 0
    assert found.parts[form].isnan().all()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [3, 4, 5, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_candidate_that_nobody_can_compare_does_not_win(form, size, seed):
    values = [0.01, *shuffled(size - 1, seed)]  # the first seed
    found = Tournament(None, Silent(0.02), format=form).elect(pool(values))
    assert found.winner != 0
    if form == "roundrobin":  # elsewhere the best may have met nobody else
        assert found.winner == values.index(max(values))
    assert found.about["missing"] > 0
    assert found.parts[form][0].isnan()


def test_only_the_shortlist_meets_and_the_unscored_are_not_on_it():
    comparer = Fair()
    scores = [3.0, math.nan, 1.0, -math.inf, 2.0, 0.5]
    found = Tournament(None, comparer, keep=3).elect(pool([0.2, 0.9, 0.4, 0.8, 0.3, 0.7], scores))
    assert found.winner == 2
    assert found.parts["knockout"].isfinite().tolist() == [True, False, True, False, True, False]
    assert comparer.asked == 4
    assert Tournament(None, comparer).elect(pool([0.1, 0.2], [math.nan] * 2)).winner is None


@pytest.mark.parametrize("form", FORMATS)
def test_a_verifier_decides_by_its_scores_and_scores_each_finalist_once(form):
    calls = []

    class Counted(Redness):
        def __call__(self, media, prompts, *, progress=1.0):
            calls.append(len(media))
            return super().__call__(media, prompts)

    media = torch.rand(12, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    media[1, 0] = torch.nan
    scores = torch.arange(12, 0, -1).double()
    elector = Tournament(None, Counted(), format=form, keep=8)
    found = elector.elect(Pool("a star", list(media), scores, {}))
    totals = Redness()(media[:8], ["a star"] * 8).total.double()
    assert found.winner == int(totals.nan_to_num(-9).argmax())
    assert calls == [8] == [elector.calls(8)]
    assert torch.equal(found.parts["redness"][:8].nan_to_num(-9), totals.nan_to_num(-9))
    assert found.parts["redness"][8:].isnan().all()


def test_vetoed_finalists_drop_out_before_the_first_bout():
    class Vetoing:
        name, differentiable = "vetoing", False

        def __call__(self, media, prompts, *, progress=1.0):
            return Scores(torch.full((len(media),), -torch.inf))

    found = Tournament(None, Vetoing()).elect(pool([0.5]))
    assert (found.winner, float(found.parts["vetoing"][0])) == (None, -torch.inf)


def test_a_swiss_system_pairs_equals_and_never_the_same_twice():
    met: list[tuple[int, int]] = []

    def play(pairs):
        met.extend(tuple(sorted(pair)) for pair in pairs)
        return [float(a < b) for a, b in pairs]

    for count in range(2, 17):
        met.clear()
        winner, points = swiss(count, play)
        assert winner == 0
        assert len(set(met)) == len(met) == held(count) * (count // 2)
        assert float(points.nansum()) == len(met)
    for rounds, bouts in ((1, 4), (4, 16), (9, 16)):
        met.clear()
        swiss(8, play, rounds=rounds)
        assert len(met) == bouts


def test_points_of_a_knockout_are_bouts_won():
    winner, points = knockout(5, lambda pairs: [float(a > b) for a, b in pairs])
    assert winner == 4
    assert points.tolist() == [0, 0, 0, 1, 3]  # 1-4, 2-3; 3-4; 0-4


def test_noisy_comparisons_find_the_best_more_often_the_more_are_held():
    """Shares of the best candidate as the winner over 300 tournaments of 6, each with a standard error below 0.029."""
    values, runs = [(i + 1) / 7 for i in range(6)], 300
    share = {}
    for form, samples in (("knockout", 1), ("knockout", 5), ("roundrobin", 1), ("roundrobin", 5)):
        wins = 0
        for seed in range(runs):
            order = torch.randperm(6, generator=torch.Generator().manual_seed(seed)).tolist()
            mixed = [values[i] for i in order]
            elector = Tournament(None, Noisy(seed, 9.0), format=form, samples=samples)
            wins += elector.elect(pool(mixed)).winner == mixed.index(max(mixed))
        share[form, samples] = wins / runs
    error = math.sqrt(2 * 0.25 / runs)  # of a difference, 0.041
    assert share["knockout", 1] > 1 / 6 + 4 * error
    assert share["roundrobin", 1] > share["knockout", 1] + 2 * error
    assert share["knockout", 5] > share["knockout", 1] + 3 * error
    assert share["roundrobin", 5] > share["roundrobin", 1] + 2 * error


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"format": "league"},
            "a tournament of the format 'league' is unknown; take one of knockout, swiss, roundrobin",
        ),
        ({"keep": 0}, "keeps 0 finalists"),
        ({"keep": 2.5}, "keeps 2.5 finalists"),
        ({"rounds": 3}, "rounds of knockout are 3"),
        ({"format": "swiss", "rounds": 0}, "rounds of swiss are 0"),
        ({"samples": 0}, "give 1 or more samples"),
        ({"tie": 0.6}, "a tie band from 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Tournament(None, Fair(), **settings)
