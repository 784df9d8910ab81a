from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from gensearch.core.ledger import BudgetSpent, Cost, Ledger
from gensearch.core.noise import randn
from gensearch.engine.metered import MeteredModel, MeteredVerifier
from gensearch.models.toy.gaussian import GaussianFlow
from gensearch.testing.setting import Batched
from gensearch.testing.verifiers import LinearScore
from gensearch.testing.witness import Failure, assert_booked, counting
from verifiers.combine import Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.types import Media, Scores


def test_costs_add_and_multiply_by_column():
    assert Cost(nfe=3, decoded=1).plus(Cost(nfe=4, scored=2)) == Cost(nfe=7, decoded=1, scored=2)
    assert Cost(nfe=3, backward=2, tokens=5).times(7) == Cost(nfe=21, backward=14, tokens=35)
    assert Cost(nfe=3).times(0) == Cost()


@pytest.mark.parametrize(("limit", "words"), [({"nfes": 3}, "no column 'nfes'"), ({"nfe": -1}, "0 or more")])
def test_a_limit_is_a_known_column_and_not_negative(limit, words):
    with pytest.raises(ValueError, match=words):
        Ledger(limit)


def test_require_allows_exactly_what_is_left():
    ledger = Ledger({"nfe": 10})
    ledger.charge(Cost(nfe=3, scored=5))
    assert ledger.left("nfe") == 7
    assert ledger.left("scored") == float("inf")
    ledger.require("seven", Cost(nfe=7, scored=1000))
    with pytest.raises(BudgetSpent) as refusal:
        ledger.require("width 4", Cost(nfe=8))
    assert str(refusal.value) == "width 4 needs 8 nfe; 7 are left. Raise the limit on nfe to 11 or ask for less."
    assert ledger.spent == Cost(nfe=3, scored=5)


def test_affords_is_the_tightest_column():
    ledger = Ledger({"nfe": 29, "decoded": 3})
    assert ledger.affords(Cost(nfe=10)) == 2
    assert ledger.affords(Cost(nfe=2, decoded=1)) == 3
    assert ledger.affords(Cost(scored=4)) == float("inf")
    assert Ledger().affords(Cost(nfe=1)) == float("inf")
    assert Ledger({"nfe": 0}).affords(Cost(nfe=1)) == 0


@pytest.mark.parametrize(
    ("limit", "at_most", "rounds"), [(0, None, 0), (6, None, 0), (7, None, 1), (50, None, 7), (50, 3, 3)]
)
def test_rounds_stop_before_the_first_misfit(limit, at_most, rounds):
    ledger = Ledger({"nfe": limit})
    counted = []
    for i in ledger.rounds(at_most, Cost(nfe=7)):
        counted.append(i)
        ledger.charge(Cost(nfe=7))
    assert counted == list(range(rounds))
    assert ledger.spent.nfe <= limit


def test_rounds_without_a_limit_are_those_asked_for():
    assert list(Ledger().rounds(5, Cost(nfe=10**9))) == [0, 1, 2, 3, 4]


def test_the_report_is_plain_data():
    ledger = Ledger({"nfe": 4})
    ledger.charge(Cost(nfe=2), Cost(nfe=1))
    report = ledger.report()
    assert (report["spent"]["nfe"], report["padding"]["nfe"], report["limit"]) == (2, 1, {"nfe": 4})
    assert report["seconds"] >= 0


@pytest.mark.parametrize(("rows", "filled"), [(1, 0), (2, 0), (3, 0), (7, 1), (8, 0), (15, 1)])
def test_a_metered_model_books_samples_and_padding(rows, filled):
    model = GaussianFlow((1, 2, 3), num_steps=3, guidance=2.0, batch_size=8)
    ledger = Ledger()
    metered = MeteredModel(model, ledger)
    networks = {"nfe": model.network, "decoded": model.decoder}
    with counting(networks) as seen, torch.no_grad():
        state = metered.start(["a"] * rows, randn(range(rows), model.noise_shape))
        state = metered.advance(state)
        state = metered.rewind(state, torch.ones(rows, dtype=torch.long), randn(range(rows), model.noise_shape))
        metered.render(state)
    assert ledger.spent == Cost(nfe=3 * 2 * rows, decoded=rows)
    assert ledger.padding == Cost(nfe=3 * 2 * filled, decoded=filled)
    assert_booked(ledger, networks, seen)


def test_a_metered_model_gives_the_bits_of_the_model():
    model = GaussianFlow((1, 4, 4), num_steps=3, churn=0.5, batch_size=2)
    metered = MeteredModel(model, Ledger())
    noise = randn(range(5), model.noise_shape)
    with torch.no_grad():
        bare = model.advance(model.start(["a"] * 5, noise), noise.flip(0))
        booked = metered.advance(metered.start(["a"] * 5, noise), noise.flip(0))
    assert torch.equal(bare.clean, booked.clean)
    assert bare.prompts == booked.prompts
    assert torch.equal(model.render(bare), metered.render(booked))
    assert metered.num_steps == 3


def test_a_refused_call_does_nothing():
    model = GaussianFlow((1, 2, 2), batch_size=2)
    ledger = Ledger({"nfe": 3, "decoded": 1})
    metered = MeteredModel(model, ledger)
    with counting({"nfe": model.network, "decoded": model.decoder}) as seen, torch.no_grad():
        with pytest.raises(BudgetSpent, match="starting 4 samples needs 4 nfe; 3 are left"):
            metered.start(["a"] * 4, randn(range(4), model.noise_shape))
        assert not seen
        state = metered.start(["a"] * 2, randn(range(2), model.noise_shape))
        with pytest.raises(BudgetSpent, match="decoding 2 samples needs 2 decoded; 1 are left"):
            metered.render(state)
    assert seen == {"nfe": 2}
    assert ledger.spent == Cost(nfe=2)


class Half:
    name = "half"
    differentiable = False
    batch_size = 4

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.where(media.flatten(1).sum(1) > 0, torch.nan, media.flatten(1).sum(1)))


def test_a_metered_verifier_counts_and_stops_nan():
    ledger = Ledger({"scored": 6})
    metered = MeteredVerifier(Half(), ledger)
    media = torch.tensor([-1.0, 2.0, -3.0, 4.0, -5.0])[:, None, None, None]
    assert metered(media, ["a"] * 5).total.tolist() == [-1, float("-inf"), -3, float("-inf"), -5]
    assert metered.unscored == 2
    assert (ledger.spent.scored, ledger.padding.scored) == (5, 0)  # four and one
    assert metered(media[1:2], ["a"]).total.tolist() == [float("-inf")]
    assert ledger.spent.scored == 6
    with pytest.raises(BudgetSpent, match="scoring 1 samples needs 1 scored; 0 are left"):
        metered(media[:1], ["a"])
    assert metered.unscored == 3


def test_a_metered_verifier_keeps_name_and_gradients():
    metered = MeteredVerifier(RandomScore(name="dice"), Ledger())
    assert (metered.name, metered.differentiable) == ("dice", False)


@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_a_sum_costs_one_call_of_every_single_verifier_and_each_fills_its_batches(rows):
    one, other = Batched(RandomScore(1, name="one")), Batched(RandomScore(2, name="other"))
    verifier = WeightedSum(Term(one), Term(WeightedSum(Term(other, 0.5), name="inner")))
    ledger = Ledger()
    with counting({"one": one.network, "other": other.network}) as seen:
        MeteredVerifier(verifier, ledger)(torch.rand(rows, 3, 2, 2), ["a"] * rows)
    assert (ledger.spent.scored, ledger.padding.scored) == (2 * rows, 0)
    assert seen["one"] + seen["other"] == ledger.spent.scored + ledger.padding.scored


@pytest.mark.parametrize(("calls", "seen_by_one", "seen_by_other"), [(1, 4, 0), (2, 5, 0), (3, 5, 4)])
def test_every_batch_of_every_verifier_is_booked_before_the_next_one_fails(calls, seen_by_one, seen_by_other):
    one, other = Batched(RandomScore(1, name="one")), Batched(RandomScore(2, name="other"))
    ledger = Ledger()
    networks = {"one": one.network, "other": other.network}
    with counting(networks, fail_at=calls) as seen, pytest.raises(Failure):
        MeteredVerifier(WeightedSum(Term(one), Term(other)), ledger)(torch.rand(5, 3, 2, 2), ["a"] * 5)
    assert (seen["one"], seen["other"]) == (seen_by_one, seen_by_other)
    assert ledger.spent.scored + ledger.padding.scored == seen_by_one + seen_by_other


def test_scores_and_parts_are_those_of_the_verifier_itself():
    verifier = WeightedSum(Term(Batched(LinearScore(randn([1], (1, 2, 2))[0])), 0.5), Term(RandomScore()))
    media = torch.rand(5, 3, 2, 2)
    bare, metered = verifier(media, ["a"] * 5), MeteredVerifier(verifier, Ledger())(media, ["a"] * 5)
    assert torch.equal(bare.total, metered.total)
    assert bare.parts.keys() == metered.parts.keys()
    assert all(torch.equal(bare.parts[name], metered.parts[name]) for name in bare.parts)
    with pytest.raises((IndexError, ValueError)):  # the verifier's own complaint
        MeteredVerifier(verifier, Ledger())(media[:3], ["a"] * 5)


class Saying:
    """A verifier that says what it is given."""

    differentiable = False

    def __init__(self, name: str, says: Callable[[], Scores]) -> None:
        self.name = name
        self.says = says

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        return self.says()


def test_infinite_scores_are_no_scores():
    totals = iter([torch.tensor([1.0, torch.inf, -torch.inf]), torch.tensor([torch.inf])])

    metered = MeteredVerifier(Saying("boundless", lambda: Scores(next(totals))), Ledger())
    assert metered(torch.zeros(3, 1), ["a"] * 3).total.tolist() == [1, float("-inf"), float("-inf")]
    assert metered.unscored == 2
    assert metered(torch.zeros(1, 1), ["a"]).total.tolist() == [float("-inf")]
    assert metered.unscored == 3


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (Scores(torch.ones(1)), r"\[1\]"),
        (Scores(torch.ones(1, 3)), r"\[1, 3\]"),
        (Scores(torch.ones(3, dtype=torch.complex64)), "Tensor"),
        (None, "NoneType"),
        (Scores(None), "NoneType"),  # type: ignore[arg-type]
        (Scores(0.5), r"\[\]"),  # type: ignore[arg-type]
    ],
)
def test_scores_that_are_not_one_number_for_each_sample_are_refused(said, found):
    with pytest.raises(ValueError, match=f"the verifier odd returned {found} for 3 samples; return Scores whose total"):
        MeteredVerifier(Saying("odd", lambda: said), Ledger())(torch.zeros(3, 1), ["a"] * 3)
