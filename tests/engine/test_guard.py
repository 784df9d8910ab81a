"""The guard beside a search: it changes nothing, costs nothing in the ledger, and says when a hold-out falls."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from gensearch import registry
from gensearch.core.guard import ADVICE, REFERENCE
from gensearch.core.noise import derive, randn
from gensearch.core.perturb import KINDS, perturbed
from gensearch.engine.run import result, run
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.pipeline import SearchPipeline
from gensearch.search import SEARCHES
from verifiers.combine import Cascade, Least, RankVote, Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

PROMPT = "a red star"


class Brightness:
    """How light the picture is, times a sign; counts its scores."""

    differentiable = True

    def __init__(self, sign=1.0, name="brightness", delay=0.0):
        self.sign, self.name, self.delay, self.scored = sign, name, delay, 0

    def __call__(self, media, prompts, *, progress=1.0):
        time.sleep(self.delay)
        self.scored += len(media)
        return Scores(self.sign * media.flatten(1).mean(1))


def model():
    return GaussianTurbo((3, 6, 6), batch_size=4)


def search(guide, holdout=(), **settings):
    return SearchPipeline(model(), guide, **{"compute": 24, **settings}, holdout=holdout)(PROMPT, seed=3)


def checked(out):
    """The guard of an outcome, which has one."""
    assert out.guard is not None
    return out.guard


def picks(out):
    return [(node.id, node.score) for node in out.result.lineage], out.result.best.id


@pytest.mark.parametrize("method", ["best_of_n", "zero_order", "reno"])
def test_neither_the_guard_nor_its_holdouts_change_a_pick_or_the_ledger(method):
    plain = search(Brightness(), search=method, guard=False)
    for holdout in ([], [RandomScore(1)], [RandomScore(2)], [Brightness(-1, "darkness")]):
        found = search(Brightness(), holdout, search=method)
        assert picks(found) == picks(plain)
        assert torch.equal(found.result.best.media, plain.result.best.media)
        assert (found.result.ledger.spent, found.result.ledger.padding) == (
            plain.result.ledger.spent,
            plain.result.ledger.padding,
        )
    assert plain.guard is None


def test_it_warns_when_the_holdout_falls_while_the_guide_rises():
    found = search(Brightness(), [Brightness(-1, "darkness")])
    (warning,) = checked(found).warnings
    assert "hold-out darkness falls" in warning
    assert f"warning: {warning}" in repr(found)
    assert checked(search(Brightness(), [Brightness(2, "twice")])).warnings == ()


@pytest.mark.parametrize(("compute", "others"), [(16, 15), (24, 19)])
def test_the_false_alarms_of_a_guide_that_knows_nothing(compute, others):
    pipe = SearchPipeline(model(), RandomScore(0), compute=compute, holdout=[RandomScore(1, name="other")])
    found = [pipe(PROMPT, seed=seed) for seed in range(150)]
    assert all(len(checked(out).reference["other"]) == others for out in found if out.result.best.id < REFERENCE + 1)
    rate = np.mean([bool(checked(out).warnings) for out in found])
    expected = (1 - 1 / compute) / (others + 1)  # the plain sample, if it wins, does not rise
    assert rate == pytest.approx(expected, abs=3 * (expected / 150) ** 0.5)


def test_a_random_guide_gains_nothing_once_its_score_is_corrected():
    pipe = SearchPipeline(model(), RandomScore(0), compute=16)
    found = [pipe(PROMPT, seed=seed) for seed in range(100)]
    raw = np.array([out.result.best.score for out in found])
    fixed = np.array([checked(out).corrected for out in found])
    mean = np.mean([node.score for out in found for node in out.result.lineage])
    assert raw.mean() > mean + 0.3
    assert fixed.mean() == pytest.approx(mean, abs=4 * fixed.std() / 10)


def test_the_corrected_score_of_known_changes():
    out = search(Brightness())
    best, base = out.result.best, out.result.base
    gains = [float((perturbed(best.media[None], k) - perturbed(base.media[None], k)).mean()) for k in KINDS]
    assert checked(out).corrected == pytest.approx(base.score + np.mean(gains), abs=1e-6)
    assert checked(out).error == pytest.approx(np.std(gains, ddof=1) / 2, abs=1e-6)


class Noisy(Brightness):
    """The mean of the picture and noise of its own, which depends on its name and on the picture alone."""

    def __call__(self, media, prompts, *, progress=1.0):
        total = super().__call__(media, prompts).total
        seeds = [derive(self.name, repr(float(value))) for value in total]
        return Scores(total + 0.2 * torch.cat([randn([seed], (1,))[0] for seed in seeds]))


def test_a_sum_is_corrected_by_a_split_of_its_verifiers_without_a_further_call():
    guides = [Term(Noisy(1, "one"), 0.5, 0.1, 2.0), Term(Noisy(1, "two"), 2.0), Term(Noisy(-1, "three"), 0.3)]
    pipe = SearchPipeline(model(), WeightedSum(*guides), compute=16)
    steps = list(pipe.stream(PROMPT, seed=3))
    out = pipe.output(PROMPT, result(steps[-1]))
    media = torch.cat([step.round.media for step in steps])
    totals = [term.verifier(media, [PROMPT] * 16).total for term in guides]
    worth = np.stack([0.5 * (totals[0] - 0.1) / 2, 2 * totals[1], 0.3 * totals[2]], 1)
    picks = [int((worth.sum(1) - worth[:, k]).argmax()) for k in range(3)]
    assert checked(out).split == pytest.approx(sum(worth[picks[k], k] for k in range(3)), abs=1e-5)
    assert checked(out).split < out.result.best.score
    assert f"{checked(out).split:.4g} by a split of its verifiers" in repr(out)


@pytest.mark.parametrize("select", [True, False])
def test_the_split_is_of_the_verifier_that_picks(select):
    both = WeightedSum(Term(Noisy(1, "one")), Term(Noisy(1, "two")))
    found = search(Brightness(), select=both) if select else search(both, select=Brightness())
    assert np.isfinite(checked(found).split) == select


def test_what_is_no_sum_has_no_split():
    least = Least(Term(Noisy(1, "one")), Term(Noisy(1, "two")))
    for found in (search(Brightness()), search(least), search(least, select=RankVote(Noisy(1, "a"), Noisy(1, "b")))):
        assert np.isnan(checked(found).split)
        assert "split" not in repr(found)


def test_the_plain_sample_needs_no_correction():
    out = search(Brightness(), compute=1)
    assert (checked(out).corrected, checked(out).error) == (out.result.best.score, 0)


def test_every_score_beyond_the_ledger_is_counted_and_the_clock_stands_still():
    guide, slow = Brightness(), Brightness(-1, "slow", delay=0.05)
    out = search(guide, [slow])
    assert checked(out).scored == slow.scored + guide.scored - out.result.ledger.spent.scored
    assert slow.scored == REFERENCE + 1 + 2
    assert checked(out).seconds > 0.05 * 4
    assert out.result.ledger.spent.scored == 24
    quick = search(Brightness(), [Brightness(-1, "quick")])
    assert out.result.curve[-1].seconds < quick.result.curve[-1].seconds + 0.15


def test_the_winners_noise_and_the_pool_are_measured():
    out = search(Brightness())
    noise = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(out.result.best.recipe[0][1]))
    assert checked(out).shell == pytest.approx(float(noise.double().square().sum() - 108) / 216**0.5)
    assert len(out.result.seen.thumbnails) == len(out.result.lineage)
    assert 1 < checked(out).distinct <= 24


def test_embedded_models_have_a_holdout_and_others_get_advice():
    turbo = registry.load_model("shapes/turbo")
    held_out = {
        ("shapes/critic", ()): ["shapes/clip-holdout"],
        ("shapes/clip-holdout", ()): ["shapes/clip"],
        ("shapes/clip+shapes/clip-holdout", ()): [],
        ("shapes/clip", ("redness",)): ["redness"],
    }
    for (guide, given), expected in held_out.items():
        assert list(SearchPipeline(turbo, guide, holdout=given).panel.holdout) == expected
    assert not SearchPipeline(turbo, guard=False).panel.holdout
    assert ADVICE in repr(search(Brightness()))
    assert ADVICE not in repr(search(Brightness(), [RandomScore()]))


def test_an_outcome_that_nothing_watched_is_examined_all_the_same():
    pipe = SearchPipeline(model(), Brightness(), holdout=[Brightness(-1, "darkness")])
    out = pipe.output(PROMPT, run(SEARCHES["best_of_n"], model(), Brightness(), PROMPT, compute=8))
    assert checked(out).warnings == ()
    assert np.isnan(checked(out).distance)
    assert checked(out).corrected > out.result.base.score


class Tired(Brightness):
    """Raises after a number of scores."""

    def __call__(self, media, prompts, *, progress=1.0):
        if self.scored >= 5:
            raise RuntimeError("no memory left")
        return super().__call__(media, prompts)


def test_a_holdout_that_fails_later_loses_no_winner():
    with pytest.warns(UserWarning, match="the hold-out tired gave no score: .*no memory left"):
        found = search(Brightness(), [Tired(-1, "tired")])
    assert found.result.stopped in ("budget", "finished")
    assert all(np.isnan(score) for score in found.holdout["tired"])
    assert checked(found).warnings == ()


def test_the_guard_of_an_election_asks_the_guide_if_the_elector_scores_nothing():
    found = search(Brightness(), select=Cascade(None, Brightness(-1, "darkness"), keep=4))
    assert found.result.election is not None
    assert np.isfinite(checked(found).corrected)
