"""Tree-of-Frames on clips in closed form: what it gains, what it costs, what it keeps and what it asks."""

from __future__ import annotations

import gc
import weakref
from statistics import fmean

import pytest
import torch

from gensearch.core.ledger import BudgetSpent, Ledger
from gensearch.core.noise import Rng, remake, step_noise
from gensearch.core.sampling import generate
from gensearch.engine.metered import MeteredModel, MeteredVerifier
from gensearch.engine.run import run, stream
from gensearch.models.toy.chunks import ToyChunks, good
from gensearch.search.chunks.tree_of_frames import bolder, shares, tree_of_frames
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing import SearchLaws, Setting
from gensearch.testing.clips import ChunkJudge
from gensearch.testing.witness import counting
from tests.builders.clips import LastPixels, Shown
from verifiers.controls.random import RandomScore
from verifiers.types import Scores

PROMPT = "a red star moves left"


class TestLaws(SearchLaws):
    @pytest.fixture
    def search(self):
        return tree_of_frames

    @pytest.fixture(params=[{}, {"keep": 2, "inner": [2, 1]}, {"trees": 2, "spread": 1.0}])
    def setting(self, search, request):
        model = Shown(num_steps=3, batch_size=3)
        return Setting(search, request.param, model, LastPixels(), compute=13, extends=False)

    def test_one_sample_is_the_plain_picture(self, setting):
        knobs = {name: value for name, value in setting.knobs.items() if name == "keep"}
        super().test_one_sample_is_the_plain_picture(Setting(setting.search, knobs, setting.model, setting.verifier))


# --- what it gains


def shares_of_success(settings, trees, **knobs):
    """The share of trees whose one leaf is good throughout, and the closed form."""
    length, b, p, tpr, fpr = settings
    model = ToyChunks(num_steps=length, p=p, batch_size=min(4096, trees * b))
    verifier = ChunkJudge(tpr, fpr)
    rounds = list(stream(tree_of_frames, model, verifier, PROMPT, branch=b, trees=trees, seed=9, **knobs))
    finished = rounds[-1].round
    totals, flags = finished.scores.total, good(finished.media).all(1)
    firsts = [range(tree * b, (tree + 1) * b) for tree in range(trees)]
    won = [flags[max(tree, key=lambda row: (totals[row], -row))] for tree in firsts]
    return fmean(map(float, won)), closed_form(*settings), rounds[-1].ledger


def closed_form(length, b, p, tpr, fpr):
    a, c = p * tpr, (1 - p) * fpr
    f = a + c
    q = (1 - (1 - f) ** b) * a / f + (1 - f) ** b * p * (1 - tpr) / (1 - f) if f < 1 else p
    return q**length


SETTINGS = [
    (8, 4, 0.7, 1.0, 0.0),
    (5, 3, 0.5, 1.0, 0.0),
    (8, 4, 0.7, 0.9, 0.1),
    (6, 2, 0.6, 0.8, 0.3),
    (4, 5, 0.45, 0.95, 0.2),
]


@pytest.mark.parametrize(
    "settings", [*SETTINGS[1:4], *(pytest.param(s, marks=pytest.mark.slow) for s in SETTINGS[::4])], ids=str
)
def test_success_is_that_of_the_closed_form(settings):
    check_success(settings, 400)


def check_success(settings, trees):
    found, expected, ledger = shares_of_success(settings, trees)
    error = (expected * (1 - expected) / trees) ** 0.5  # at most 0.025 with 400 trees
    assert abs(found - expected) < 4 * error
    length, b = settings[:2]
    assert ledger.spent.nfe == trees * length * b


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("settings", [*SETTINGS, (16, 4, 0.8, 1.0, 0.0), (8, 2, 0.7, 1.0, 0.0)], ids=str)
def test_success_is_that_of_the_closed_form_in_many_trials(settings):
    check_success(settings, 20_000)  # standard error at most 0.0035


VERIFIERS = [
    (0.5, 0.5),
    (0.2, 0.7),
    pytest.param((0.8, 0.8), marks=pytest.mark.slow),
    pytest.param((0.3, 0.6), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("verifier", VERIFIERS, ids=str)
def test_a_verifier_that_knows_nothing_gains_nothing_and_one_that_is_wrong_loses(verifier):
    length, b, p, trees = 4, 4, 0.7, 500
    found, expected, _ = shares_of_success((length, b, p, *verifier), trees)
    plain = p**length
    assert (expected < plain - 0.1) if verifier[0] < verifier[1] else expected == pytest.approx(plain)
    assert abs(found - expected) < 4 * (expected * (1 - expected) / trees) ** 0.5


@pytest.mark.parametrize(("length", "b", "p"), [(8, 4, 0.7), (5, 3, 0.5)])
def test_it_beats_best_of_n_at_the_same_cost_by_what_was_predicted(length, b, p):
    trees = 200
    found, expected, ledger = shares_of_success((length, b, p, 1.0, 0.0), trees)
    linear = 1 - (1 - p**length) ** b
    model = ToyChunks(num_steps=length, p=p, batch_size=min(4096, trees * b))
    rounds = list(stream(best_of_n, model, ChunkJudge(whole=True), PROMPT, n=trees * b, seed=9))
    assert rounds[-1].ledger.spent.nfe == ledger.spent.nfe
    hits = torch.cat([p.round.scores.total for p in rounds]).view(trees, b).amax(1)
    error = (expected * (1 - expected) / trees + linear * (1 - linear) / trees) ** 0.5  # 0.04
    assert abs((found - hits.mean().item()) - (expected - linear)) < 4 * error
    assert expected - linear > 8 * error


# --- noise and paths


def noises(rounds, model, depth):
    """The newest noise of every clip that was seen at a depth, by its recipe."""
    seen = [p.round for p in rounds if p.round.media.shape[1] == depth + 1]
    return {recipe: step_noise([recipe], depth, model.noise_shape).flatten() for r in seen for recipe in r.recipes}


def test_siblings_cousins_and_parents_have_independent_noise():
    model = ToyChunks(num_steps=3, size=60, batch_size=16)
    rounds = list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=4, keep=3, seed=2))
    drawn = torch.stack([noise for depth in range(3) for noise in noises(rounds, model, depth).values()])
    assert len(drawn) == 4 + 12 + 12
    n = drawn.shape[1]
    correlation = torch.corrcoef(drawn.double())
    off = correlation[~torch.eye(len(drawn), dtype=torch.bool)]
    assert off.abs().max() < 4.5 / n**0.5  # 378 pairs
    assert drawn.mean(1).abs().max() < 4 / n**0.5
    assert (drawn.var(1) - 1).abs().max() < 4 * (2 / n) ** 0.5


def test_every_leaf_comes_back_from_its_recipe_whatever_else_was_tried():
    model = ToyChunks(num_steps=4, batch_size=3)
    wide = list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=5, keep=3, seed=4))
    narrow = list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=[5, 3], keep=[3, 2], seed=4))
    for rounds in (wide, narrow):
        last = rounds[-1].round
        for recipe, clip in zip(last.recipes, last.media, strict=True):
            made = generate(model, [PROMPT], remake(recipe, model.noise_shape), [recipe])
            assert torch.equal(made[0], clip)
    common = set(wide[1].round.recipes) & set(narrow[1].round.recipes)
    assert len(common) >= 6, "a path has the same noise in another tree"


def test_more_than_ten_children_keep_their_paths_apart():
    model = ToyChunks(num_steps=2, batch_size=144)
    rounds = list(stream(tree_of_frames, model, RandomScore(), PROMPT, branch=12, keep=12))
    leaves = rounds[-1].round
    assert len(set(leaves.recipes)) == 144
    assert len({clip.numpy().tobytes() for clip in leaves.media}) == 144


def test_branching_once_and_pruning_at_the_end_is_best_of_n():
    model = ToyChunks(num_steps=4, batch_size=4)
    verifier = RandomScore(3)
    tree = run(tree_of_frames, model, verifier, PROMPT, branch=[6, 1], keep=6, seed=8)
    linear = run(best_of_n, model, verifier, PROMPT, n=6, seed=8)
    forest = run(tree_of_frames, model, verifier, PROMPT, branch=1, trees=6, seed=8)
    for other in (tree, forest):
        assert torch.equal(other.best.media, linear.best.media)
        assert other.best.recipe == linear.best.recipe
        assert [node.recipe for node in other.lineage] == [node.recipe for node in linear.lineage]
        assert other.ledger.spent == linear.ledger.spent


# --- what it costs


@pytest.mark.parametrize(
    ("branch", "keep", "inner"),
    [(4, 1, 1), ([5, 1, 1, 2], [3, 3, 2, 1], 1), ([3, 2], 2, [2, 1]), (2, 4, 1)],
    ids=str,
)
@pytest.mark.parametrize("reading", [0, 1])
def test_it_costs_what_the_schedules_say(branch, keep, inner, reading):
    model = ToyChunks(num_steps=4, reading=reading, batch_size=1)
    with counting({"nfe": model.network, "decoded": model.decoder}) as seen:
        outcome = run(tree_of_frames, model, RandomScore(), PROMPT, branch=branch, keep=keep, inner=inner)
    chunks = kept = scored = 0
    survivors = 1
    for depth in range(4):
        entry = [s if isinstance(s, int) else s[min(depth, len(s) - 1)] for s in (branch, keep, inner)]
        made = survivors * entry[0] * entry[2]
        chunks += made
        scored += made if entry[2] > 1 or made > entry[1] or depth == 3 else 0
        survivors = min(survivors * entry[0], entry[1])
        kept += survivors if depth < 3 else 0
    spent = outcome.ledger.spent
    assert seen["nfe"] == spent.nfe == chunks + reading * kept
    assert spent.scored == spent.decoded == scored
    assert seen["decoded"] <= chunks, "a chunk was shown twice"


@pytest.mark.parametrize("limit", [4, 5, 9, 17, 23, 40])
@pytest.mark.parametrize("knobs", [{"branch": 4, "keep": 2}, {}, {"branch": 3, "keep": 2, "inner": 2}], ids=str)
def test_a_limit_is_never_passed_and_a_clip_comes_back(limit, knobs):
    model = ToyChunks(num_steps=4, batch_size=1)
    outcome = run(tree_of_frames, model, RandomScore(), PROMPT, limit={"nfe": limit}, **knobs)
    assert outcome.ledger.spent.nfe <= limit
    assert outcome.best.media.shape[0] == 4
    with pytest.raises(BudgetSpent):
        run(tree_of_frames, model, RandomScore(), PROMPT, limit={"nfe": 3}, **knobs)


@pytest.mark.parametrize("compute", [1, 2, 5, 13])
@pytest.mark.parametrize("reading", [0, 1])
def test_the_plan_uses_the_budget(compute, reading):
    model = ToyChunks(num_steps=5, reading=reading, batch_size=1)
    outcome = run(tree_of_frames, model, RandomScore(), PROMPT, compute=compute)
    unit = 5 + 4 * reading
    assert compute * unit - 2 * (1 + reading) < outcome.ledger.spent.nfe <= compute * unit


def test_what_is_pruned_is_freed_and_never_seen_again():
    model = ToyChunks(num_steps=4, reading=1, batch_size=4)
    clips: list[weakref.ref[torch.Tensor]] = []

    class Watching(MeteredModel):
        def advance(self, state, noise=None):
            after = super().advance(state, noise)
            clips.extend(weakref.ref(chunk) for chunk in after.extra["clip"])
            gc.collect()
            alive = sum(ref() is not None for ref in clips)
            peak.append(alive)
            return after

    peak: list[int] = []
    ledger = Ledger()
    search = tree_of_frames(
        Watching(model, ledger), MeteredVerifier(RandomScore(), ledger), PROMPT, rng=Rng(3), ledger=ledger, branch=4
    )
    for round in search:
        del round
    assert max(peak) <= 3 + 4, "one path and its newest children"


# --- what it keeps


class Constant:
    name = "constant"
    differentiable = False

    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(torch.ones(len(media)))


def test_of_equals_those_with_the_lowest_paths_stay():
    model = ToyChunks(num_steps=3, batch_size=4)
    rounds = list(stream(tree_of_frames, model, Constant(), PROMPT, branch=3, keep=2, seed=1))
    assert [len(p.round.ids) for p in rounds] == [3, 6, 6]
    assert rounds[-1].best is not None
    assert rounds[-1].best.recipe == (("gaussian", 1),), "the lowest path is the plain clip"
    assert [len(recipe) for recipe in rounds[1].round.recipes] == [1, 2, 2, 1, 2, 2]


def test_a_child_is_the_best_of_its_tries():
    model = ToyChunks(num_steps=2, batch_size=6)
    rounds = list(stream(tree_of_frames, model, LastPixels(), PROMPT, branch=[3, 1], keep=3, inner=[2, 1], seed=1))
    first, last = rounds[0].round, rounds[-1].round
    totals = first.scores.total.view(3, 2)
    stayed = [2 * child + int(totals[child].argmax()) for child in range(3)]
    assert list(last.parents) == stayed


def test_where_nothing_can_be_scored_the_lowest_paths_go_on():
    class Blind(Constant):
        def __call__(self, media, prompts, *, progress=1.0):
            return Scores(torch.full((len(media),), torch.nan if progress < 1 else 1.0))

    model = ToyChunks(num_steps=3, batch_size=4)
    outcome = run(tree_of_frames, model, Blind(), PROMPT, branch=2, seed=1)
    assert outcome.unscored == 4
    assert outcome.best.recipe == (("gaussian", 1),)


def test_scores_that_differ_much_branch_more():
    class Spread(LastPixels):
        def __call__(self, media, prompts, *, progress=1.0):
            scores = super().__call__(media, prompts)
            return scores._replace(total=scores.total * (10 if media.shape[1] == 2 else 1))

    model = ToyChunks(num_steps=4, batch_size=4)
    sizes = [
        [len(p.round.ids) for p in stream(tree_of_frames, model, Spread(), PROMPT, branch=4, spread=power, seed=1)]
        for power in (0, 1)
    ]
    assert sizes[0] == [4, 4, 4, 4]
    assert sizes[1][:2] == [4, 4]
    assert sizes[1][2] > 4 > sizes[1][3]


def test_any_power_of_a_spread_is_a_number_of_children():
    assert bolder(4, [1.0, 3.0], 1.0) == 6
    assert bolder(4, [3.0, 1.0], 1.0) == 2
    assert bolder(4, [1.0, 3.0], 2000.0) == 4 * 10_000
    assert bolder(4, [3.0, 1.0], 2000.0) == bolder(4, [1.0, 0.0], 0.5) == 1
    assert bolder(4, [], 1.0) == bolder(4, [2.0, 1.0], 0.0) == 4


def test_a_plan_goes_on_where_only_some_depths_still_fit():
    """With eight tries for each first chunk and one after it, later chunks are cheaper than one more of the first."""
    model = ToyChunks(num_steps=4, batch_size=4)
    outcome = run(tree_of_frames, model, RandomScore(), PROMPT, inner=[8, 1], compute=6)
    assert 24 - outcome.ledger.spent.nfe < 2


@pytest.mark.parametrize(
    ("chunks", "limit"), [(2, {"scored": 1}), (4, {"scored": 2}), (8, {"decoded": 5}), (8, {"decoded": 9, "scored": 4})]
)
def test_what_is_left_for_looks_is_kept_for_the_last_one(chunks, limit):
    model = ToyChunks(num_steps=chunks, batch_size=4)
    outcome = run(tree_of_frames, model, RandomScore(), PROMPT, branch=1, inner=2, limit=limit)
    assert outcome.best.media.shape[0] == sum(model.frames)
    assert all(getattr(outcome.ledger.spent, column) <= most for column, most in limit.items())


def test_a_record_is_the_root_of_one_tree():
    model = ToyChunks(num_steps=4, batch_size=4)
    first = run(tree_of_frames, model, RandomScore(1), PROMPT, branch=2, seed=7).best
    with pytest.raises(ValueError, match="the root of one tree and trees is 2; leave out trees"):
        run(tree_of_frames, model, RandomScore(), PROMPT, resume=first.recipe, chunk=2, trees=2, compute=6)


def test_a_remainder_goes_to_the_best():
    assert shares(7, 3, [0.1, 0.9, 0.5]) == [2, 3, 2]
    assert shares(2, 3, [0.1, 0.9, 0.5]) == [0, 1, 1]
    assert shares(2, 3, []) == [1, 1, 0]
