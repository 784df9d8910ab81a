"""Laws of sums, votes, roles and the random control."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from verifiers import Panel, RandomScore, RankVote, Scores, Term, Verifier, WeightedSum, rank_vote
from verifiers.combine import Pool, Rephrased, leaf_names, leaves, with_leaves
from verifiers.video.grid import Grid
from verifiers.video.per_frame import PerFrame
from verifiers.video.staged import Staged

NAN = math.nan


class Brightness:
    """Mean of one channel, with a part of its own and maybe a blind spot."""

    differentiable = True

    def __init__(self, channel: int, unscored: int | None = None) -> None:
        self.name = f"channel{channel}"
        self.channel = channel
        self.unscored = unscored
        self.progress: list[float] = []

    def __call__(self, media: Tensor, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        self.progress.append(progress)
        total = media[:, self.channel].flatten(1).mean(1)
        if self.unscored is not None:
            total = total.index_fill(0, torch.tensor([self.unscored]), NAN)
        return Scores(total, {self.name: total, "max": media[:, self.channel].flatten(1).amax(1)})


def media(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(9))


PROMPTS = ["a photo"] * 6


# --- weighted sum


def test_the_sum_is_on_calibrated_scales() -> None:
    first, second = Brightness(0), Brightness(2)
    verifier = WeightedSum(Term(first, 0.7, shift=0.2, scale=0.1), Term(second, -3.0, scale=4.0))
    x = media()
    scores = verifier(x, PROMPTS, progress=0.25)
    red, blue = x[:, 0].mean((1, 2)), x[:, 2].mean((1, 2))
    assert torch.allclose(scores.total, 0.7 * (red - 0.2) / 0.1 - 3 * blue / 4)
    assert set(scores.parts) == {"channel0", "channel2", "channel0/max", "channel2/max"}
    assert torch.equal(scores.parts["channel2"], Brightness(2)(x, PROMPTS).total)
    assert [first.progress, second.progress] == [[0.25], [0.25]]
    assert isinstance(verifier, Verifier)


def test_a_sample_that_one_verifier_cannot_score_is_unscored_whatever_the_weight() -> None:
    verifier = WeightedSum(Term(Brightness(0)), Term(Brightness(1, unscored=2), weight=0.0))
    assert verifier(media(), PROMPTS).total.isnan().tolist() == [False, False, True, False, False, False]


def test_gradients_flow_through_the_total_and_parts_hold_no_graph() -> None:
    x = media().requires_grad_()
    scores = WeightedSum(Term(Brightness(0), 2.0, scale=0.5))(x, PROMPTS)
    scores.total.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad[:, 0], torch.full((6, 4, 4), 2 / 0.5 / 16))
    assert not scores.parts["channel0"].requires_grad


def test_a_sum_is_differentiable_only_if_every_verifier_is() -> None:
    assert WeightedSum(Term(Brightness(0)), Term(Brightness(1))).differentiable
    assert not WeightedSum(Term(Brightness(0)), Term(RandomScore(1))).differentiable


def test_unusable_sums_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        WeightedSum(Term(Brightness(0)), Term(Brightness(0)))
    with pytest.raises(ValueError, match="different names"):
        WeightedSum()
    with pytest.raises(ValueError, match="scale of 0"):
        WeightedSum(Term(Brightness(0), scale=0.0))


# --- rank vote


def test_a_vote_by_hand_with_ties_and_an_unscored_candidate() -> None:
    parts = {
        "a": torch.tensor([3.0, 9.0, 3.0, 1.0, 99.0]),  # ranks 2.5 1 2.5 4 -
        "b": torch.tensor([0.9, 0.5, 0.8, 0.7, NAN]),  # ranks 1 4 2 3 -
    }
    assert rank_vote(parts).tolist() == [0, 2, 1, 3, 4]  # means 1.75 2.5 2.25 3.5


def test_an_unscored_candidate_does_not_shift_the_others() -> None:
    # without the third the first two tie; counted between them in "a" it would push the first one down
    parts = {"a": torch.tensor([1.0, 3.0, 2.0]), "b": torch.tensor([2.0, 1.0, NAN])}
    assert rank_vote(parts).tolist() == [0, 1, 2]


def test_monotone_transforms_of_a_part_change_nothing() -> None:
    parts = {str(s): torch.randn(40, generator=torch.Generator().manual_seed(s)) for s in range(3)}
    bent = parts | {"0": parts["0"].double().exp() * 1e6, "1": parts["1"].double() ** 3 - 5}
    assert torch.equal(rank_vote(parts), rank_vote(bent))
    assert not torch.equal(rank_vote(parts), rank_vote(parts | {"0": -parts["0"]}))


def test_permuting_the_pool_permutes_the_order() -> None:
    parts = {str(s): torch.randn(15, generator=torch.Generator().manual_seed(s)) for s in range(4)}
    shuffle = torch.randperm(15, generator=torch.Generator().manual_seed(7))
    ranks = torch.stack([p.argsort(descending=True).argsort() for p in parts.values()]).sum(0)
    order, moved = rank_vote(parts), rank_vote({k: v[shuffle] for k, v in parts.items()})
    assert torch.equal(ranks[order], ranks.sort().values)
    assert torch.equal(ranks[shuffle][moved], ranks[order])


# --- roles


def test_replacing_the_hold_out_by_noise_replaces_a_report_and_nothing_else() -> None:
    x = media()
    quiet = Panel(Brightness(0), select=Brightness(1), holdout={"blue": Brightness(2)})
    noisy = Panel(Brightness(0), select=Brightness(1), holdout={"blue": RandomScore(4)})
    assert torch.equal(quiet.report(x, PROMPTS)["blue"], Brightness(2)(x, PROMPTS).total)
    assert not torch.equal(noisy.report(x, PROMPTS)["blue"], quiet.report(x, PROMPTS)["blue"])


def test_select_defaults_to_guide() -> None:
    guide = Brightness(0)
    assert Panel(guide).select is guide


def weighted(*verifiers: Verifier, name: str = "sum") -> WeightedSum:
    return WeightedSum(*map(Term, verifiers), name=name)


@pytest.mark.parametrize(
    ("guide", "select", "holdout"),
    [
        (Brightness(0), None, Brightness(0)),  # another object of the same name
        (weighted(Brightness(0), Brightness(1)), None, Brightness(0)),
        (Brightness(0), None, WeightedSum(Term(Brightness(0), 2.0))),
        (Brightness(1), Brightness(0), weighted(Brightness(2), weighted(Brightness(0), name="inner"))),
        (Brightness(1), RankVote(Brightness(2), Brightness(0)), weighted(Brightness(0))),
    ],
)
def test_a_guide_or_selector_cannot_be_held_out_not_even_inside_a_sum(guide, select, holdout) -> None:
    with pytest.raises(ValueError, match="'mine' also guides or selects"):
        Panel(guide, select=select, holdout={"mine": holdout})


class Networked(Brightness):
    """One with a network."""

    def __init__(self, channel: int, weight: float, dtype: torch.dtype = torch.float32, width: int = 2) -> None:
        super().__init__(channel)
        self.model = torch.nn.Linear(width, 1, dtype=dtype)
        torch.nn.init.constant_(self.model.weight, weight)
        torch.nn.init.constant_(self.model.bias, weight)


@pytest.mark.parametrize(
    "wraps",
    [
        lambda verifier: PerFrame(verifier, name="frames"),
        lambda verifier: Grid(verifier, 4, name="grid"),
        lambda verifier: Rephrased(verifier, str, name="rephrased"),
        lambda verifier: Staged(Brightness(2), verifier, Brightness(1)),
        lambda verifier: weighted(PerFrame(Rephrased(verifier, str, name="rephrased"), name="frames")),
    ],
)
def test_a_verifier_inside_another_is_no_holdout(wraps) -> None:
    for holdout in (Networked(0, 0.1), Networked(3, 0.1)):  # of the same name; of the same network
        with pytest.raises(ValueError, match="'mine' also guides or selects"):
            Panel(wraps(Networked(0, 0.1)), holdout={"mine": holdout})
        with pytest.raises(ValueError, match="'mine' also guides or selects"):
            Panel(holdout, holdout={"mine": wraps(Networked(0, 0.1))})
    Panel(wraps(Networked(0, 0.1)), holdout={"mine": Networked(3, 0.2)})


def test_one_network_under_two_names_is_one_verifier() -> None:
    guide = weighted(Networked(0, 0.1), Brightness(2))
    for same in (Networked(1, 0.1), weighted(Networked(1, 0.1)), Networked(1, 0.1, torch.bfloat16)):
        with pytest.raises(ValueError, match="'mine' also guides or selects, by this name or "):
            Panel(guide, holdout={"mine": same})
        with pytest.raises(ValueError, match="'mine' also guides or selects"):
            Panel(Brightness(2), select=Networked(0, 0.1), holdout={"mine": same})
    for other in (Networked(1, 0.2), Networked(1, 0.1, width=3), Brightness(1)):
        assert Panel(guide, holdout={"mine": other}).report(media(), PROMPTS).keys() == {"mine"}


def test_leaves_are_the_single_verifiers() -> None:
    a, b = Brightness(0), Brightness(1)
    assert leaves(a) == [a]
    assert leaves(weighted(weighted(a, name="inner"), b)) == [a, b]
    assert leaf_names(weighted(a), b) == {"channel0", "channel1"}


def test_single_verifiers_can_be_replaced_inside_a_sum_that_stays_as_it_was() -> None:
    verifier = weighted(weighted(Brightness(0), name="inner"), Brightness(1))
    changed = with_leaves(verifier, lambda leaf: RandomScore(name=f"new {leaf.name}"))
    assert [leaf.name for leaf in leaves(changed)] == ["new channel0", "new channel1"]
    assert [leaf.name for leaf in leaves(verifier)] == ["channel0", "channel1"]
    assert isinstance(with_leaves(RankVote(Brightness(0)), lambda leaf: leaf), RankVote)


def test_a_rank_vote_only_selects_and_needs_every_verifier() -> None:
    vote = RankVote(Brightness(0, unscored=2), Brightness(1, unscored=4), name="rank(r,g)")
    scores = vote(media(), PROMPTS)
    assert scores.total.isnan().tolist() == [False, False, True, False, True, False]
    assert torch.equal(scores.total[:2], media()[:2, 0].mean((1, 2)))
    pool = [{"channel0": a, "channel1": b} for a, b in [(1.0, 1.0), (3.0, 0.5), (2.0, 7.0), (9.0, NAN)]]
    parts = {name: torch.tensor([scores[name] for scores in pool]) for name in ("channel0", "channel1")}
    assert vote.elect(Pool("a photo", [media()[0]] * 4, parts["channel0"], parts)).winner == 2
    assert Panel(Brightness(2), select=vote).select is vote
    for roles in ({"guide": vote}, {"guide": Brightness(2), "holdout": {"vote": vote}}):
        with pytest.raises(ValueError, match=r"'rank\(r,g\)' can only select"):
            Panel(**roles)
    with pytest.raises(ValueError, match="different names"):
        RankVote()


# --- the random control


def test_random_scores_depend_on_content_and_seed_alone() -> None:
    x = media()
    torch.manual_seed(0)
    scores = RandomScore(5)(x, PROMPTS).total
    torch.manual_seed(1)
    order = torch.tensor([4, 0, 0, 3])
    assert torch.equal(RandomScore(5)(x[order], ["other"] * 4).total, scores[order])
    assert not torch.equal(RandomScore(6)(x, PROMPTS).total, scores)
    other = x.clone()
    other[0, 0] = 1 - other[0, 0]
    assert (RandomScore(5)(other, PROMPTS).total != scores).tolist() == [True, *[False] * 5]


@pytest.mark.parametrize("size", [(64, 64), (17, 40)])
def test_random_scores_survive_rounding_and_other_last_bits(size) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(200, 3, *size, generator=g)
    scores = RandomScore(5)(x, ["p"] * 200).total
    eight_bits = (x * 255).round() / 255
    assert torch.equal(RandomScore(5)(eight_bits, ["p"] * 200).total, scores)
    # Generated pictures differ by about 1e-6 between processors.
    elsewhere = x + 1e-6 * (2 * torch.rand(x.shape, generator=g) - 1)
    assert (
        int((RandomScore(5)(elsewhere, ["p"] * 200).total != scores).sum()) <= 6
    )  # expected: one or two cells at an edge


def test_random_scores_are_uniform() -> None:
    x = torch.rand(4000, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    scores = RandomScore(2)(x, ["p"] * 4000).total
    assert scores.min() >= 0
    assert scores.max() < 1
    assert abs(float(scores.mean()) - 0.5) < 4 * (1 / 12 / 4000) ** 0.5  # standard error 0.0046
    # the Kolmogorov-Smirnov distance exceeds 1.95/sqrt(n) once in a thousand
    steps = torch.arange(1, 4001) / 4000
    assert float((scores.sort().values - steps).abs().max()) < 1.95 / 4000**0.5


def test_random_scores_leave_broken_media_unscored() -> None:
    x = media()
    x[3, 1, 2, 0] = torch.inf
    assert RandomScore(0)(x, PROMPTS).total.isnan().tolist() == [False, False, False, True, False, False]
