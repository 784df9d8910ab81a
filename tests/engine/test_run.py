from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from pydantic import Field

from gensearch.core.errors import NothingScored
from gensearch.core.ledger import BudgetSpent
from gensearch.core.noise import randn
from gensearch.core.price import price
from gensearch.core.types import Round
from gensearch.engine.run import result, run, stream
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.noise.unguided import unguided
from gensearch.search.noise.zero_order import zero_order
from gensearch.testing.verifiers import LinearScore
from gensearch.testing.witness import counting
from verifiers.combine import RankVote, Term, WeightedSum, rank_vote
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

MODEL = GaussianTurbo((1, 3, 3))
VERIFIER = LinearScore(randn([1], (1, 3, 3))[0])
COLOURS, VERIFIER3 = GaussianTurbo((3, 3, 3)), LinearScore(randn([1], (3, 3, 3))[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"nn": 3}, r"unknown knob 'nn' for best_of_n; did you mean 'n'\? Known: n, propose"),
        ({"width": 3}, "unknown knob 'width' for best_of_n; Known: n, propose"),
        ({"n": 0}, "knob n of best_of_n is 0: it should be above 0"),
        ({"n": -2}, "knob n of best_of_n is -2"),
        ({"n": "many"}, "knob n of best_of_n is 'many': input should be a valid integer"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n\t"}, "the prompt is empty"),
        ({"prompt": None}, "the prompt is None, and a search takes one text"),
        ({"prompt": ["a", "b"]}, "the prompt is a list of 2, and .* search for one prompt at a time"),
        ({"prompt": "a\tstar"}, r"the prompt holds the control character '\\t' at position 1; remove it"),
        ({"prompt": "x" * 10_000}, "the prompt has 10000 characters; the longest allowed is 2000"),
        ({"compute": 0}, "compute 0 cannot be"),
        ({"compute": -3}, "compute -3 cannot be"),
        ({"compute": 0.99}, "compute 0.99 cannot be"),
        ({"compute": float("nan")}, "compute nan cannot be"),
        ({"compute": float("inf")}, "compute inf cannot be"),
        ({"compute": None}, "best_of_n would never stop: give compute, a limit or n"),
        ({"compute": None, "limit": {"backward": 3}}, "best_of_n would never stop"),
        ({"limit": {"nfe": -1}}, "the limit on nfe is -1"),
        ({"limit": {"steps": 5}}, "a ledger has no column 'steps'"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"seed": 2**53}, "is out of range; take an integer from 0"),
        ({"seed": 0.5}, "the seed is 0.5, a float; give an integer"),
        ({"seed": "3"}, "the seed is '3', a str; give an integer"),
        ({"seed": None}, "the seed is None; give an integer"),
        ({"seed": True}, "the seed is True, a bool; give an integer"),
        ({"compute": "4"}, "compute '4' cannot be"),
        ({"compute": True}, "compute True cannot be"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(arguments, words):
    options = {"prompt": "a star", "compute": 4} | arguments
    prompt = options.pop("prompt")
    with counting({"nfe": MODEL.network}) as seen, pytest.raises(ValueError, match=words):
        stream(best_of_n, MODEL, VERIFIER, prompt, **options)
    assert not seen


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"cosine": 1.0}, "knob cosine of zero_order is 1.0: it should be above -1 and below 1"),
        ({"neighbours": 0}, "knob neighbours of zero_order is 0"),
        ({"patience": 0}, "knob patience"),
        ({"rounds": 0}, "knob rounds"),
        ({"neighbors": 3}, "did you mean 'neighbours'"),
    ],
)
def test_ranges_of_knobs_are_read_from_the_search(knobs, words):
    with pytest.raises(ValueError, match=words):
        stream(zero_order, MODEL, VERIFIER, "a star", compute=4, **knobs)


@pytest.mark.parametrize("limit", [{"nfe": 0}, {"nfe": 11}, {"decoded": 0}, {"scored": 0}])
def test_a_budget_below_one_sample_is_refused_at_once(limit):
    model = GaussianFlow((1, 3, 3), num_steps=6, guidance=2.0)
    column, most = next(iter(limit.items()))
    need = getattr(price(model), column)
    with pytest.raises(BudgetSpent, match=f"one sample of toy/flow needs {need} {column}; {most} are left"):
        stream(best_of_n, model, VERIFIER, "a star", limit=limit)


def test_a_selector_is_part_of_the_price():
    with pytest.raises(BudgetSpent, match="needs 2 scored; 1 are left"):
        stream(best_of_n, MODEL, VERIFIER, "a star", select=RandomScore(), limit={"scored": 1})
    outcome = run(best_of_n, MODEL, VERIFIER, "a star", select=RandomScore(), n=3)
    assert outcome.ledger.spent.scored == 6


def test_every_single_verifier_is_part_of_the_price():
    both = WeightedSum(Term(VERIFIER), Term(RandomScore(), 0.5))
    for roles, needed in (({}, 2), ({"select": RandomScore()}, 3), ({"select": both}, 4)):
        with pytest.raises(BudgetSpent, match=f"needs {needed} scored; {needed - 1} are left"):
            stream(best_of_n, MODEL, both, "a star", limit={"scored": needed - 1}, **roles)
        outcome = run(best_of_n, MODEL, both, "a star", n=3, **roles)
        assert outcome.ledger.spent.scored == 3 * needed


def test_nothing_selects_for_a_control():
    with pytest.raises(ValueError, match="'random' would pick the winner, and unguided would be no control"):
        stream(unguided, MODEL, VERIFIER, "a star", n=3, select=RandomScore())


@pytest.mark.parametrize(("compute", "samples"), [(1, 1), (2.9, 2), (7, 7), (12.01, 12)])
def test_compute_is_in_prices_of_one_sample(compute, samples):
    model = GaussianFlow((1, 3, 3), num_steps=3, guidance=2.0)
    outcome = run(best_of_n, model, VERIFIER, "a star", compute=compute)
    assert outcome.ledger.spent == price(model).times(samples)
    assert outcome.stopped == "budget"


def test_the_tighter_of_compute_and_limit_holds():
    assert run(best_of_n, MODEL, VERIFIER, "a star", compute=9, limit={"nfe": 5}).ledger.spent.nfe == 5
    assert run(best_of_n, MODEL, VERIFIER, "a star", compute=5, limit={"nfe": 9}).ledger.spent.nfe == 5


def test_a_search_says_why_it_stopped():
    assert run(best_of_n, MODEL, VERIFIER, "a star", n=5).stopped == "finished"
    assert run(best_of_n, MODEL, VERIFIER, "a star", n=5, compute=3).stopped == "budget"
    progress: Any = stream(best_of_n, MODEL, VERIFIER, "a star", compute=50)  # a generator
    first = next(progress)
    progress.close()
    assert result(first, closed=True).stopped == "closed"


class Tiring:
    """A verifier that can score so many samples only."""

    name = "tiring"
    differentiable = True

    def __init__(self, left):
        self.left = left

    def __call__(self, media, prompts, *, progress=1.0):
        tired = torch.arange(len(media)) >= self.left
        self.left -= len(media)
        return Scores(VERIFIER(media, prompts).total.masked_fill(tired, torch.nan))


@pytest.mark.parametrize("role", ["verifier", "select"])
def test_a_round_that_cannot_be_scored_ends_nothing_and_never_wins(role):
    def scored(left):
        return (Tiring(left), {}) if role == "verifier" else (VERIFIER, {"select": Tiring(left)})

    verifier, roles = scored(4)
    rounds = list(stream(best_of_n, MODEL, verifier, "a star", n=12, **roles))
    outcome = result(rounds[-1])
    assert len(rounds) == 3
    assert (outcome.stopped, outcome.unscored, outcome.ledger.spent.nfe) == ("finished", 8, 12)
    assert outcome.best.score == run(best_of_n, MODEL, VERIFIER, "a star", n=4).best.score
    assert len(outcome.curve) == len(outcome.lineage) == 12
    verifier, roles = scored(0)
    with pytest.raises(NothingScored, match="the verifier could score none of 12 samples"):
        run(best_of_n, MODEL, verifier, "a star", n=12, **roles)


def test_a_first_round_without_a_score_is_no_best():
    class Late(Tiring):
        def __call__(self, media, prompts, *, progress=1.0):
            self.left -= 1
            total = VERIFIER(media, prompts).total
            return Scores(total * torch.nan if self.left >= 0 else total)

    settings: list[dict[str, Any]] = [{}, {"select": RankVote(Late(2), RandomScore(1))}]
    for roles in settings:
        guide = VERIFIER if roles else Late(2)
        rounds = list(stream(best_of_n, MODEL, guide, "a star", n=12, **roles))
        assert [p.best is None for p in rounds] == [True, True, False]
        assert rounds[0].base is not None
        assert result(rounds[-1]).best.id >= 8
    with pytest.raises(NothingScored, match="none of 4 samples"):
        result(rounds[0])


class Breaking(Tiring):
    """Raises in one call."""

    def __init__(self, left, error):
        super().__init__(left)
        self.error = error

    def __call__(self, media, prompts, *, progress=1.0):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return VERIFIER(media, prompts)


def test_an_exception_in_a_late_round_keeps_the_best_and_says_what_it_was():
    for role in ("verifier", "select"):
        breaking = Breaking(2, RuntimeError("CUDA out of\nmemory"))
        guide, roles = (breaking, {}) if role == "verifier" else (VERIFIER, {"select": breaking})
        with pytest.warns(UserWarning, match="this is the best of 8 samples: CUDA out of memory"):
            outcome = run(best_of_n, MODEL, guide, "a star", n=12, **roles)
        assert (outcome.stopped, outcome.error) == ("error", "CUDA out of memory")
        assert "in __call__" in outcome.trace
        assert outcome.best.score == run(best_of_n, MODEL, VERIFIER, "a star", n=8).best.score


def test_an_exception_before_anything_was_found_is_raised_as_it_is():
    error = RuntimeError("boom")
    with pytest.raises(RuntimeError) as caught:
        run(best_of_n, MODEL, Breaking(0, error), "a star", n=12)
    assert caught.value is error


def test_an_interruption_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        run(best_of_n, MODEL, Breaking(1, KeyboardInterrupt()), "a star", n=12)


def test_what_was_not_spent_is_said():
    assert run(best_of_n, MODEL, VERIFIER, "a star", n=4, compute=9).unspent == {"work": 5}
    assert run(best_of_n, MODEL, VERIFIER, "a star", compute=9).unspent == {}


def test_seeds_of_numpy_are_seeds():
    ours, theirs = (run(best_of_n, MODEL, VERIFIER, "a star", n=2, seed=seed) for seed in (3, np.int64(3)))
    assert ours.lineage == theirs.lineage
    assert type(theirs.lineage[0].recipe[0][1]) is int


def test_the_lineage_names_every_finished_sample_in_order():
    rounds = list(stream(zero_order, MODEL, VERIFIER, "a star", compute=10))
    lineage = result(rounds[-1]).lineage
    samples = [row for p in rounds for row in zip(p.round.ids, p.round.parents, p.round.recipes, strict=True)]
    assert [node[:3] for node in lineage] == samples
    assert [node.score for node in lineage] == [score for p in rounds for score in p.round.scores.total.tolist()]
    assert rounds[-1].best is not None
    assert max(node.score for node in lineage) == rounds[-1].best.score
    assert {node.parent for node in lineage} > {None}


@pytest.mark.parametrize("n", [3, 11])
def test_a_rank_vote_elects_among_all_finished_samples(n):
    one, other = Channel(0), Channel(1)
    outcome = run(best_of_n, COLOURS, VERIFIER3, "a star", n=n, select=RankVote(one, other))
    media = torch.cat([p.round.media for p in stream(best_of_n, COLOURS, VERIFIER3, "a star", n=n)])
    order = rank_vote({"red": one(media, [""] * n).total, "green": other(media, [""] * n).total})
    assert outcome.best.id == int(order[0])
    assert torch.equal(outcome.best.media, media[order[0]])
    assert outcome.best.score == outcome.best.parts["channel0"] == one(media, [""] * n).total[order[0]].item()
    assert outcome.ledger.spent.scored == 3 * n
    assert outcome.curve[-1].best == one(media, [""] * n).total.max().item()


class Channel:
    differentiable = True

    def __init__(self, channel):
        self.channel = channel
        self.name = f"channel{channel}"

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(media[:, self.channel].flatten(1).mean(1))


def test_the_base_is_the_first_finished_sample():
    outcome = run(best_of_n, MODEL, VERIFIER, "a star", n=30, seed=77)
    assert outcome.base.id == 0
    assert outcome.base.recipe == (("gaussian", 77),)
    assert outcome.base.score < outcome.best.score


def test_a_sample_carries_the_parts_of_its_score():
    best = run(best_of_n, MODEL, VERIFIER, "a star", n=9).best
    assert best.parts == {"linear": pytest.approx(best.score)}


def scripted(script):
    """A search that yields given scores, round by round; numbers in a tuple are finished, in a list previews."""

    def search(model, verifier, prompt, *, rng, ledger) -> Iterator[Round]:
        first = 0
        for totals in script:
            media = torch.full((len(totals), 3, 1, 1), 0.5)
            ids = tuple(range(first, first := first + len(totals)))
            recipes = ((("gaussian", 0),),) * len(totals)
            yield Round(
                media, Scores(torch.tensor(totals)), recipes, ids, (None,) * len(ids), isinstance(totals, tuple)
            )

    return search


def test_best_and_curve_follow_finished_rounds_only():
    rounds = list(stream(scripted([[9.0], (1.0, 3.0), [8.0, 7.0], (2.0,), (3.0,), (4.0, 0.0)]), MODEL, VERIFIER, "a"))
    assert [p.best and p.best.id for p in rounds] == [None, 2, 2, 2, 2, 7]
    assert [p.base and p.base.id for p in rounds] == [None, 1, 1, 1, 1, 1]
    assert [point.best for point in rounds[-1].curve] == [1, 3, 3, 3, 4, 4]


@pytest.mark.parametrize("n", [1, 3, 7, 11])
def test_the_curve_of_a_longer_run_passes_through_the_shorter_ones(n):
    whole = run(best_of_n, MODEL, VERIFIER, "a", n=11).curve
    short = run(best_of_n, MODEL, VERIFIER, "a", n=n)
    assert len(whole) == 11
    assert (whole[n - 1].best, whole[n - 1].spent) == (short.best.score, short.ledger.spent)


def test_a_progress_that_is_kept_does_not_change():
    rounds, seen = [], []
    for progress in stream(best_of_n, MODEL, VERIFIER, "a", n=30):
        rounds.append(progress)
        seen.append((tuple(progress.curve), tuple(progress.lineage)))
    assert len(rounds) > 5
    assert [(progress.curve, progress.lineage) for progress in rounds] == seen
    assert [len(curve) for curve, _ in seen] == [progress.round.ids[-1] + 1 for progress in rounds]
    outcome = result(rounds[-1])
    assert (outcome.curve, outcome.lineage) == seen[-1]
    assert type(outcome.curve) is tuple
    assert type(outcome.lineage) is tuple


def test_what_a_round_allocates_does_not_grow_with_the_rounds_before_it():
    """Each of 2,000 rounds is kept; as copies, the curve and the lineage of the second half would take 3 times more."""
    half = 1000
    rounds = stream(scripted([(float(i % 7),) for i in range(2 * half)]), MODEL, VERIFIER, "a")
    kept = [next(rounds) for _ in range(8)]
    tracemalloc.start()
    try:
        kept += [next(rounds) for _ in range(half)]
        first, _ = tracemalloc.get_traced_memory()
        kept += list(rounds)
        both, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == len(kept[-1].lineage) == len(kept[-1].curve) == 2 * half
    assert both - first < 1.25 * first


def test_a_search_without_a_finished_sample_has_no_result():
    with pytest.raises(BudgetSpent, match="ended before it finished one sample"):
        run(scripted([[5.0]]), MODEL, VERIFIER, "a")
    with pytest.raises(BudgetSpent, match="ended before it finished one sample"):
        run(scripted([]), MODEL, VERIFIER, "a")


def greedy(model, verifier, prompt, *, rng, ledger, width: Annotated[int, Field(ge=2)] = 3) -> Iterator[Round]:
    yield from best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=width)
    model.start([prompt] * width, randn(range(width), model.noise_shape))


def test_running_out_of_money_keeps_what_was_found():
    outcome = run(greedy, MODEL, VERIFIER, "a star", limit={"nfe": 5})
    assert outcome.ledger.spent.nfe == 3
    assert outcome.best.score >= outcome.base.score


def test_running_out_of_money_with_nothing_found_says_so():
    def hasty(model, verifier, prompt, *, rng, ledger) -> Iterator[Round]:
        model.start([prompt] * 9, randn(range(9), model.noise_shape))
        yield from ()

    with pytest.raises(BudgetSpent, match="starting 9 samples needs 9 nfe; 5 are left"):
        run(hasty, MODEL, VERIFIER, "a star", limit={"nfe": 5})


def test_a_search_that_always_ends_needs_no_budget():
    assert run(greedy, MODEL, VERIFIER, "a star").ledger.spent.nfe == 6


def test_knobs_from_text_become_numbers():
    assert run(greedy, MODEL, VERIFIER, "a star", width="4").ledger.spent.nfe == 8
