"""Elections by rank, z-score, agreement and cascade: independent recomputation, invariances, and who can never win."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from verifiers.combine import (
    Agreement,
    Cascade,
    Elector,
    Panel,
    Pool,
    RankVote,
    Term,
    ZSum,
    first_best,
    leaves,
    z_scores,
)
from verifiers.combine.inside import judges
from verifiers.controls.random import RandomScore
from verifiers.controls.redness import Redness
from verifiers.types import Scores

NAN = math.nan
A, B, C = (RandomScore(seed, name=name) for seed, name in enumerate("abc"))


def pool(count=9, seed=0, **parts):
    """Candidates with random scores by a, b and c."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(count, generator=generator, dtype=torch.float64) for name in "abc"}
    found |= {name: torch.tensor(values, dtype=torch.float64) for name, values in parts.items()}
    media = torch.rand(count, 3, 5, 4, generator=generator)
    return Pool("a star", list(media), found["a"], found)


def moved(given, change):
    """The same pool with other parts."""
    return given._replace(parts={name: change(name, values) for name, values in given.parts.items()})


def test_a_z_sum_is_that_of_numpy():
    given = pool()
    z = {name: (v.numpy() - v.numpy().mean()) / v.numpy().std() for name, v in given.parts.items()}
    found = ZSum(Term(A), Term(B, -0.5), Term(C, 2.0)).elect(given)
    expected = z["a"] - 0.5 * z["b"] + 2 * z["c"]
    np.testing.assert_allclose(found.parts["zsum"].numpy(), expected, atol=1e-12)
    assert found.winner == int(expected.argmax())


def test_agreement_is_the_mean_less_the_variance_between_verifiers():
    given = pool()
    z = np.stack([(v.numpy() - v.numpy().mean()) / v.numpy().std() for v in given.parts.values()])
    found = Agreement(A, B, C, doubt=0.7).elect(given)
    np.testing.assert_allclose(found.parts["agree"].numpy(), z.mean(0) - 0.7 * z.var(0), atol=1e-12)
    assert torch.allclose(Agreement(A, B, C, doubt=0).elect(given).parts["agree"] * 3, zsum(given).parts["zsum"])


def test_agreement_prefers_what_all_like_to_what_one_loves():
    z = torch.tensor([[2.4, 1.0], [0.2, 1.0]])
    assert [int(Agreement(A, B, doubt=doubt).combined(z).argmax()) for doubt in (0.0, 0.5)] == [0, 1]


def zsum(given):
    return ZSum(Term(A), Term(B), Term(C)).elect(given)


@pytest.mark.parametrize("elector", [RankVote(A, B, C), ZSum(Term(A), Term(B), Term(C)), Agreement(A, B, C)])
@pytest.mark.parametrize("seed", range(5))
def test_units_of_a_verifier_do_not_matter(elector, seed):
    given = pool(seed=seed)
    other = moved(given, lambda name, values: values * 7e3 - 40 if name == "b" else values)
    assert elector.elect(given).winner == elector.elect(other).winner


@pytest.mark.parametrize(
    "elector",
    [RankVote(A, B, C), ZSum(Term(A), Term(B), Term(C)), Agreement(A, B, C), Cascade(None, Redness(), keep=4)],
)
def test_the_winner_moves_with_the_pool(elector):
    given = pool()
    shuffle = torch.randperm(9, generator=torch.Generator().manual_seed(4))
    turned = Pool(
        "a star",
        [given.media[i] for i in shuffle],
        given.scores[shuffle],
        {k: v[shuffle] for k, v in given.parts.items()},
    )
    winner = elector.elect(turned).winner
    assert winner is not None
    assert int(shuffle[winner]) == elector.elect(given).winner


@pytest.mark.parametrize("elector", [RankVote(A, B), ZSum(Term(A), Term(B)), Agreement(A, B)])
def test_an_unscored_candidate_neither_wins_nor_moves_the_others(elector):
    plain = pool(4, a=[1.0, 3.0, 2.0, 0.0], b=[2.0, 2.5, 3.0, 0.0])
    more = pool(5, a=[1.0, 3.0, 2.0, 0.0, 99.0], b=[2.0, 2.5, 3.0, 0.0, NAN])
    assert elector.elect(plain).winner == elector.elect(more).winner
    assert elector.elect(pool(2, a=[NAN, 1.0], b=[1.0, NAN])).winner is None


def test_equal_scores_have_no_spread_and_the_first_of_equals_wins():
    scores = torch.tensor([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]], dtype=torch.float64)
    assert z_scores(scores)[0].tolist() == [0, 0, 0]
    assert z_scores(torch.tensor([[2.0], [3.0]], dtype=torch.float64)).tolist() == [[0], [0]]
    assert zsum(pool(3, a=[1.0] * 3, b=[2.0] * 3, c=[0.3] * 3)).winner == 0
    assert first_best(torch.tensor([NAN, 1.0, 3.0, 3.0, math.inf])) == 2
    assert first_best(torch.tensor([NAN, -math.inf])) is None


class Counting(Redness):
    """Redness that counts what it scores, and may not score the reddest."""

    def __init__(self, blind=False):
        super().__init__()
        self.blind, self.calls = blind, 0

    def __call__(self, media, prompts, *, progress=1.0):
        self.calls += len(media)
        total = super().__call__(media, prompts).total
        return Scores(total.index_fill(0, total.argmax(), NAN) if self.blind else total)


@pytest.mark.parametrize("seed", range(4))
def test_a_cascade_that_keeps_all_is_the_dear_verifiers_pick(seed):
    given, dear = pool(seed=seed), Counting()
    found = Cascade(None, dear, keep=9).elect(given)
    assert found.winner == int(Redness()(torch.stack(list(given.media)), [""] * 9).total.argmax())
    assert dear.calls == 9 == Cascade(None, dear).calls(9)


@pytest.mark.parametrize("keep", [1, 3, 5])
def test_the_dear_verifier_scores_the_best_of_the_cheap_one_and_nothing_else(keep):
    given, dear = pool(), Counting()
    found = Cascade(A, dear, keep=keep).elect(given)
    best = given.scores.argsort(descending=True)[:keep]
    assert dear.calls == keep
    assert set(found.parts["redness"].isfinite().nonzero().flatten().tolist()) == set(best.tolist())
    totals = Redness()(torch.stack(list(given.media)), [""] * 9).total
    assert found.winner == max(best.tolist(), key=lambda i: float(totals[i]))


def test_a_finalist_without_a_verdict_does_not_win():
    given = pool()
    totals = Redness()(torch.stack(list(given.media)), [""] * 9).total
    found = Cascade(None, Counting(blind=True), keep=9).elect(given)
    assert found.winner == int(totals.argsort(descending=True)[1])
    assert found.about == {"finalists": 9, "missing": 1}
    assert Cascade(None, Counting(blind=True), keep=1).elect(given).winner is None
    assert Cascade(None, Counting()).elect(pool(3)._replace(scores=torch.tensor([NAN, -math.inf, NAN]))).winner is None


def test_the_unscored_are_not_on_the_shortlist_and_of_equals_the_first_are():
    given = pool(6)._replace(scores=torch.tensor([1.0, NAN, 2.0, 1.0, -math.inf, 1.0], dtype=torch.float64))
    assert given.shortlist(3) == [2, 0, 3]
    assert given.shortlist(9) == [2, 0, 3, 5]


def test_what_decides_cannot_be_held_out_and_does_not_score_single_samples():
    for cascade in (Cascade(A, B), Cascade(None, B)):
        assert B in list(judges(cascade))
        assert leaves(cascade) == ([A] if cascade.terms else [])
        with pytest.raises(ValueError, match="'mine' also guides or selects"):
            Panel(C, select=cascade, holdout={"mine": B})
        for roles in ({"guide": cascade}, {"guide": C, "holdout": {"mine": cascade}}):
            with pytest.raises(ValueError, match="'cascade' can only select"):
                Panel(**roles)
    with pytest.raises(ValueError, match="scored by another verifier"):
        Cascade(None, B)(torch.zeros(1, 3, 2, 2), ["x"])


def test_unusable_electors_are_refused():
    class Compares:
        name = "pairs"

        def compare(self, media_a, media_b, prompts):
            return torch.ones(len(prompts))

    with pytest.raises(ValueError, match=r"only compares two pictures; let it elect by 'knockout\(pairs\)'"):
        Cascade(None, Compares())  # type: ignore[arg-type]
    for keep in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"keeps {keep} finalists; give an integer of 1 or more"):
            Cascade(None, B, keep=keep)  # type: ignore[arg-type]
    for few in (lambda: RankVote(), lambda: ZSum(), lambda: Agreement(A), lambda: Agreement(A, B, doubt=-1)):
        with pytest.raises(ValueError, match="verifiers"):
            few()
    with pytest.raises(NotImplementedError, match=r"write elect\(pool\)"):
        Elector(Term(A)).elect(pool())
