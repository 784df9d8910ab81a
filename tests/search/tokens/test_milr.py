"""MILR on a toy that can be listed: what must be equal bit for bit, and which way rewards go."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest
import torch

from gensearch.core.gumbel import given
from gensearch.core.ledger import Cost
from gensearch.core.noise import Rng, randn, remake
from gensearch.core.price import price
from gensearch.core.sampling import roll
from gensearch.core.verbs import Side
from gensearch.engine.run import run, stream
from gensearch.models.toy.tokens import ToyTokens, levels
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.search.tokens.chains import Chains, How, apart
from gensearch.search.tokens.milr import milr, turn
from gensearch.testing.verifiers import LinearScore
from verifiers.types import Scores

PROMPT = "a photo of a red star"


def toy(**options):
    return ToyTokens(
        **{"image_length": 10, "vocabulary": 6, "text_length": 5, "batch_size": 2, "guidance": 2.0, **options}
    )


BRIGHT = LinearScore(torch.ones(1, 1, 10))


class Scripted:
    """A verifier that gives the numbers it is made with, one a call, and counts."""

    name = "scripted"
    differentiable = False

    def __init__(self, *numbers):
        self.numbers, self.calls = list(numbers), 0

    def __call__(self, media, prompts, *, progress=1.0):
        assert torch.is_inference_mode_enabled() or not media.requires_grad
        value = self.numbers[min(self.calls, len(self.numbers) - 1)]
        self.calls += 1
        return Scores(torch.full((len(media),), float(value)), {})


def pictures(model=None, verifier=BRIGHT, **knobs):
    return [p.round for p in stream(milr, model or toy(), verifier, PROMPT, seed=3, **knobs)]


def test_no_iterations_are_the_plain_picture(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an optimiser for nothing")

    monkeypatch.setattr(torch.optim, "Adam", refuse)
    verifier = Scripted(0.5)
    rounds = pictures(verifier=verifier, iterations=0)
    assert verifier.calls == len(rounds) == 1
    assert rounds[0].recipes == ((("gaussian", 3),),)


@pytest.mark.parametrize("strategy", ["joint", "alt", "t2v", "text", "image"])
def test_without_a_rate_and_with_its_own_noise_every_picture_is_the_first(strategy):
    rounds = pictures(iterations=4, lr=0.0, noise="common", baseline="none", strategy=strategy, chains=2)
    assert all(torch.equal(r.media, rounds[0].media) for r in rounds)


def test_without_a_rate_fresh_noise_draws_what_follows_the_prefix():
    rounds = pictures(iterations=5, lr=0.0, text_share=0.0, image_share=0.0)
    assert len({r.media.numpy().tobytes() for r in rounds}) > 3


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_without_a_rate_fresh_noise_is_resampling_behind_the_first_states(share):
    model = toy()
    rounds = pictures(model, iterations=4, lr=0.0, strategy="joint", text_share=share, image_share=share)
    rng = Rng(3)
    state, media, _ = roll(model, BRIGHT, PROMPT, randn(rng.seeds(1), model.noise_shape))
    assert torch.equal(rounds[0].media, media)
    trace = model.trace(state)
    words, pixels = int(int(trace.lengths) * share + 1e-9), int(10 * share + 1e-9)
    for round in rounds[1:]:
        noise = randn(rng.seeds(1), model.noise_shape)
        text, image = noise.split([5, 10], 1)
        if words:
            text[:, :words] = given(model.choose("text", trace.text_states[:, :words], text[:, :words]))
        image[:, :pixels] = given(model.choose("image", trace.image_states[:, :pixels], image[:, :pixels]))
        assert torch.equal(round.media, roll(model, BRIGHT, PROMPT, torch.cat([text, image], 1))[1])


@pytest.mark.parametrize(("baseline", "same"), [("ema", True), ("loo", True), ("none", False)])
def test_a_constant_added_to_rewards_moves_no_bit_of_the_states_under_a_baseline(baseline, same):
    found = []
    for shift in (0.0, 32.0):
        walk = Chains(toy(), BRIGHT, PROMPT, ((("gaussian", 3),),))
        round = walk.begin(randn([3], walk.model.noise_shape), {"text": 1.0, "image": 0.5}, lr=0.1)
        if baseline == "loo":
            round = walk.redraw(randn([4, 5], walk.model.noise_shape), ("text", "image"), free=False)
        for seed in range(3):
            walk.move(("text", "image"), walk.gains(round, baseline, shift, 0.0), How("sampled", 0.0, None, False))
            noise = randn([7 + 2 * seed, 8 + 2 * seed][: len(round.ids)], walk.model.noise_shape)
            round = walk.redraw(noise, ("text", "image"), free=False)
        found.append([part.z for part in walk.latents.values()])
    assert all(map(torch.equal, *found)) is same


MOVING: list[dict[str, Any]] = [
    {"baseline": "ema", "strategy": "image"},
    {"baseline": "ema", "strategy": "image", "samples": 3},
    {"baseline": "loo", "strategy": "joint", "samples": 2, "text_share": 1.0},
    {"baseline": "none", "strategy": "image", "shift": 5.0},
]


@pytest.mark.parametrize("knobs", MOVING[:3])
def test_a_constant_reward_moves_nothing(knobs):
    still, usual = (
        pictures(verifier=Scripted(0.4), iterations=5, lr=lr, image_share=0.6, **knobs) for lr in (5.0, 0.0)
    )
    assert all(torch.equal(a.media, b.media) for a, b in zip(still, usual, strict=True))


@pytest.mark.parametrize("knobs", MOVING)
@pytest.mark.parametrize("updates", [1, 4])
def test_every_update_moves_the_states_of_its_sides(updates, knobs, monkeypatch):
    """Also the first one, since a baseline has a round of pictures before it."""
    found, right = [], Chains.move

    def moving(walk, sides, *rest):
        before = {side: walk.latents[side].z.clone() for side in sides}
        right(walk, sides, *rest)
        found.append([not torch.equal(walk.latents[side].z, before[side]) for side in sides])

    monkeypatch.setattr(Chains, "move", moving)
    rounds = pictures(toy(sharpness=3.0), iterations=updates, image_share=0.6, **knobs)
    assert found == [[True] * (2 if knobs["strategy"] == "joint" else 1)] * updates
    before = 1 if knobs["baseline"] == "none" else 2
    sizes = [len(round.ids) for round in rounds]
    assert sizes == [1, *[knobs.get("samples", 1)] * (updates + before - 1)]


def test_a_constant_added_to_rewards_matters_without_a_baseline_only():
    for baseline, same in (("ema", True), ("none", False)):
        one, other = (
            pictures(iterations=8, lr=2.0, baseline=baseline, image_share=0.6, shift=shift) for shift in (0.0, 32.0)
        )
        assert all(torch.equal(a.media, b.media) for a, b in zip(one, other, strict=True)) is same


def test_a_graded_reward_rises_on_average_with_sampled_credit():
    """The mean of the last rounds over 24 chains against that of the first, by four standard errors."""
    model = toy(image_length=3, text_length=0, batch_size=24)
    verifier = LinearScore(torch.tensor([[[1.0, 0.0, 0.0]]]))
    rounds = pictures(model, verifier, iterations=60, chains=24, image_share=0.4, lr=0.1, strategy="image")
    first = torch.stack([r.scores.total for r in rounds[:10]]).mean(0)
    late = torch.stack([r.scores.total for r in rounds[-10:]]).mean(0)
    rise = late - first
    assert rise.mean() > 4 * rise.std() / 24**0.5


def test_negative_rewards_on_the_likeliest_token_flatten_the_distribution():
    model = toy(image_length=2, text_length=0, batch_size=16)
    found = {}
    for iterations in (0, 40):
        verifier = Scripted(-1.0)
        spy = Spied(model)
        pictures(
            spy,
            verifier,
            iterations=iterations or 1,
            chains=16,
            image_share=0.5,
            lr=0.1 if iterations else 0.0,
            credit="argmax",
            baseline="none",
            strategy="image",
        )
        chance = model.logits("image", spy.last).softmax(-1)
        found[iterations] = float(-(chance * chance.log()).sum(-1).mean())
    assert found[40] > found[0] + 0.1


class Spied:
    """A toy that remembers the image states it was asked to choose by."""

    def __init__(self, model):
        self.model, self.last, self.asked_for_words = model, None, False

    def __getattr__(self, name):
        return getattr(self.model, name)

    def booked(self, book):
        other = self.model.booked(book)
        choose = other.choose

        def spying(side, hidden, noise):
            if side == "image":
                self.last = hidden.clone()
            self.asked_for_words |= side == "text"
            return choose(side, hidden, noise)

        other.choose = spying
        return other


def slopes(module, monkeypatch):
    """What `slope` is asked from now on."""
    seen, right = [], module.slope

    def noted(*args):
        seen.append(args)
        return right(*args)

    monkeypatch.setattr(module, "slope", noted)
    return seen


def test_credit_goes_to_the_tokens_that_were_rendered(monkeypatch):
    module = import_module("gensearch.search.tokens.chains")
    seen = slopes(module, monkeypatch)
    model = toy(text_length=0)
    rounds = pictures(model, iterations=6, image_share=0.4, lr=1.0, strategy="image")
    for round, (_, _, tokens, said, *_) in zip(rounds[1:-1], seen, strict=True):
        assert torch.equal(tokens[0], levels(round.media, 6)[:, :4])
        assert bool(said.all())


def test_credit_for_words_goes_to_those_that_were_written(monkeypatch):
    module = import_module("gensearch.search.tokens.chains")
    seen = slopes(module, monkeypatch)
    model = toy(text_length=5)
    rounds = pictures(
        model, iterations=6, text_share=1.0, image_share=0.4, lr=1.0, strategy="text", samples=2, baseline="loo"
    )
    state = [roll(model, BRIGHT, PROMPT, remake(round.recipes[0], model.noise_shape))[0] for round in rounds]
    assert len({tuple(s.clean[0, :5].tolist()) for s in state}) > 1
    for before, (_, part, tokens, said, *_) in zip(state[1:-1], seen, strict=True):
        n, trace = part.z.shape[1], model.trace(before)
        assert part.side == "text"
        assert torch.equal(tokens[0, 0], trace.text[0, :n])
        assert said[0, 0].tolist() == [place < int(trace.lengths) for place in range(n)]


def test_prompts_do_not_depend_on_those_before_them():
    prompts = [PROMPT, "two blue rings", "a cat"]
    knobs = {"iterations": 3, "lr": 1.0, "image_share": 0.5, "text_share": 0.5}
    model = toy()
    found = [
        {prompt: run(milr, model, BRIGHT, prompt, seed=4, **knobs).best.media for prompt in order}
        for order in (prompts, prompts[::-1])
    ]
    for prompt in prompts:
        alone = run(milr, toy(), BRIGHT, prompt, seed=4, **knobs).best.media
        assert torch.equal(found[0][prompt], alone)
        assert torch.equal(found[1][prompt], alone)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_positions_that_are_not_in_play_stay_where_they_were(share):
    model = toy()
    walk = Chains(model, BRIGHT, PROMPT, ((("gaussian", 3),), (("gaussian", 8),)))
    round = walk.begin(randn([3, 8], model.noise_shape), {"text": share, "image": share}, lr=0.5)
    lengths = walk.trace.lengths
    walk.move(("text", "image"), walk.gains(round, "none", 1.0, 0.0), How("sampled", 0.0, None, False))
    sides: dict[Side, torch.Tensor] = {"text": lengths, "image": torch.tensor([10, 10])}
    for side, whole in sides.items():
        part = walk.latents[side]
        moved = (part.z != part.start).flatten(2).any(2)
        within = torch.arange(part.z.shape[1]) < (whole * share).long()[:, None]
        assert torch.equal(moved, within), side


def test_the_best_is_returned_and_ties_go_to_the_earliest():
    outcome = run(milr, toy(), Scripted(0.9, 0.5, 0.9, 0.1), PROMPT, iterations=3)
    assert outcome.best.id == 0
    last = run(milr, toy(), Scripted(0.9, 0.5, 0.9, 0.1), PROMPT, iterations=3, keep="last")
    assert last.best.id == 4
    assert last.best.score == pytest.approx(0.1)


@pytest.mark.parametrize(("numbers", "calls"), [((0.9,), 1), ((0.1, 0.2, 0.8, 0.9), 3), ((0.0,), 8)])
def test_it_stops_once_a_score_exceeds_the_threshold(numbers, calls):
    verifier = Scripted(*numbers)
    pictures(verifier=verifier, iterations=6, until=0.7)
    assert verifier.calls == calls


def test_each_strategy_moves_the_sides_that_it_says():
    turns = {s: [turn(s, k, 5) for k in range(1, 6)] for s in ("joint", "alt", "t2v", "text", "image")}
    text, image, both = ("text",), ("image",), ("text", "image")
    assert turns == {
        "joint": [both] * 5,
        "alt": [text, image, text, image, text],
        "t2v": [text, text, image, image, image],
        "text": [text] * 5,
        "image": [image] * 5,
    }


def test_a_plan_that_is_not_moved_is_kept():
    model = toy()
    plans = []
    write = model.write

    def spying(tokens):
        plans.append(write(tokens))
        return plans[-1]

    model.write = spying
    pictures(model, iterations=5, strategy="image", lr=1.0, image_share=0.5)
    assert len(set(plans)) == 1


def test_it_goes_on_while_the_ledger_pays_for_another_picture():
    """Plans end early, so that a budget pays for more pictures than the longest plans would leave."""
    model = toy(text_length=20, batch_size=1)
    outcome = run(milr, model, BRIGHT, PROMPT, compute=9, seed=2)
    plain = run(best_of_n, model, BRIGHT, PROMPT, compute=9, seed=2)
    assert len(outcome.lineage) > 9
    assert outcome.ledger.affords(price(model, BRIGHT)) < 1
    assert outcome.ledger.spent.work > 0.9 * plain.ledger.spent.work


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"baseline": "loo"}, "compares the samples of a round and samples is 1; take samples=2"),
        ({"samples": 3, "noise": "common"}, "samples=3 with noise=common are one picture 3 times"),
        ({"noise": "common"}, "noise=common with baseline=ema is one picture again and again"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        pictures(iterations=2, **knobs)


LOO: dict[str, Any] = {"samples": 2, "baseline": "loo"}


@pytest.mark.parametrize("strategy", ["joint", "alt", "t2v", "text"])
@pytest.mark.parametrize(
    ("greedy", "knobs", "message"),
    [
        (True, LOO, "toy/tokens takes the likeliest ones; take plan=sampled with samples=4 and baseline=loo"),
        (False, {}, "samples=1 with baseline=ema does not; take samples=4 and baseline=loo, or strategy=image"),
        (False, {"samples": 3}, "samples=3 with baseline=ema does not"),
    ],
)
def test_text_is_credited_only_for_plans_that_are_drawn_and_compared(strategy, greedy, knobs, message):
    with pytest.raises(ValueError, match=message):
        pictures(toy(greedy=greedy), iterations=1, strategy=strategy, **knobs)


@pytest.mark.parametrize(
    ("greedy", "knobs"),
    [
        (False, LOO),
        (True, {"credit": "argmax", "baseline": "none", "shift": -1.0}),
        (True, {"lr": 0.0}),
        (True, {"text_share": 0.0}),
    ],
)
def test_text_goes_with_drawn_plans_as_published_and_without_a_gradient(greedy, knobs):
    assert len(pictures(toy(greedy=greedy), iterations=1, strategy="joint", **knobs)) > 1


def test_by_default_the_plan_is_kept_and_several_image_tokens_move():
    spy = Spied(toy(image_length=64, text_length=5, greedy=True))
    pictures(spy, LinearScore(torch.ones(1, 1, 64)), iterations=1, lr=1.0)
    assert spy.last is not None
    assert spy.last.shape[1] > 1
    assert not spy.asked_for_words


def test_the_unconditional_row_stays_where_it_is_told_to():
    for frozen in (True, False):
        walk = Chains(toy(guidance=3.0, text_length=0), BRIGHT, PROMPT, ((("gaussian", 3),),))
        round = walk.begin(randn([3], walk.model.noise_shape), {"image": 0.5}, lr=0.1)
        walk.move(("image",), walk.gains(round, "none", 0.5, 0.0), How("sampled", 0.0, None, frozen))
        part = walk.latents["image"]
        assert not torch.equal(part.z[..., 0, :], part.start[..., 0, :])
        assert torch.equal(part.z[..., 1, :], part.start[..., 1, :]) is frozen


def test_each_optimiser_steps_when_its_side_moves(monkeypatch):
    steps = []
    whole = torch.optim.Adam.step

    def step(optimiser, *args):
        steps.append(optimiser.param_groups[0]["params"][0].shape[1])
        return whole(optimiser, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    model = toy(text_length=5, image_length=14)
    turns = {"alt": "titi", "t2v": "ttii", "joint": "titititi", "image": "iiii", "text": "tttt"}
    shares: dict[str, Any] = {"text_share": 1.0, "image_share": 0.5}
    for strategy, sides in turns.items():
        steps.clear()
        pictures(model, Scripted(0.3, 0.4), iterations=4, strategy=strategy, credit="argmax", **shares)
        assert "".join("i" if size == 7 else "t" for size in steps) == sides, strategy


def test_it_costs_what_its_parts_cost():
    """K updates draw K + 2 pictures: prefill, plan and picture each, and the prefix is fed and not drawn for free."""
    model = toy(text_length=0, batch_size=1)
    words = len(PROMPT.split())
    *_, last = stream(milr, model, BRIGHT, PROMPT, iterations=3, image_share=0.3)
    pictures_made = 5
    rows = 2 * (words + model.image_length - 1)
    assert last.ledger.spent == Cost(
        tokens=pictures_made * rows, prefills=2 * pictures_made, decoded=pictures_made, scored=pictures_made
    )


def test_with_a_plan_it_costs_that_as_well_and_as_much_as_best_of_n():
    model = toy(batch_size=1, greedy=True)
    *_, last = stream(milr, model, BRIGHT, PROMPT, iterations=3, image_share=0.3)
    *_, plain = stream(best_of_n, model, BRIGHT, PROMPT, n=5)
    trace = model.trace(model.start([PROMPT], randn([0], model.noise_shape)))
    length = int(trace.lengths)
    context = len(f"{PROMPT}. {model.write(trace.text[0, :length].tolist())}".split())
    each = len(PROMPT.split()) + length - 1 + 2 * (context + model.image_length - 1)
    assert last.ledger.spent == Cost(tokens=5 * each, prefills=5 * 3, decoded=5, scored=5)
    assert last.ledger.spent.tokens == plain.ledger.spent.tokens


def test_chains_do_not_see_each_other():
    knobs: dict[str, Any] = {"iterations": 4, "noise": "common", "baseline": "none", "lr": 0.5, "image_share": 0.5}
    together = list(stream(milr, toy(), BRIGHT, PROMPT, seed=9, chains=3, **knobs))
    for chain, recipe in enumerate(together[0].round.recipes):
        alone = list(stream(milr, toy(), BRIGHT, PROMPT, seed=recipe[0][1], **knobs))
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a.round.media[0], b.round.media[chain])


def test_diversity_rewards_distance_from_other_chains():
    media = torch.zeros(4, 3, 8, 8)
    media[2:] = 0.25
    media[3] = 1.0
    # Chains are rows 0-1 and 2-3; rows of one chain do not count.
    assert apart(media, 2).tolist() == [[pytest.approx(0.625)] * 2, [pytest.approx(0.25), pytest.approx(1.0)]]


def test_a_reward_that_is_missing_moves_nothing():
    class Half(Scripted):
        def __call__(self, media, prompts, *, progress=1.0):
            scores = super().__call__(media, prompts)
            scores.total[0] = math.nan
            return scores

    rounds = pictures(verifier=Half(0.3, 0.9, 0.2), chains=2, iterations=4, lr=1.0, image_share=0.5)
    assert all(r.scores.total[0] == -math.inf for r in rounds)
    assert all(r.scores.total[1].isfinite() for r in rounds)
