"""Every law fails for an implementation that breaks it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gensearch.core.ledger import Cost
from gensearch.core.noise import nearby, randn
from gensearch.core.price import price
from gensearch.core.sampling import attempt, generate
from gensearch.core.types import Round
from gensearch.models.toy.gaussian import GaussianFlow, GaussianTurbo
from gensearch.search.noise.best_of_n import best_of_n
from gensearch.testing import ModelLaws, SearchLaws, Setting, VerifierLaws
from gensearch.testing.witness import Failure
from tests.builders.laws import call, laws_of
from verifiers.combine import leaves
from verifiers.types import Scores

# Models: each breaks one promise of GaussianFlow.


class GlobalNoise(GaussianFlow):
    def start(self, prompts, noise):
        return super().start(prompts, noise + 0.1 * torch.randn(noise.shape))


class BatchNorm(GaussianFlow):
    def start(self, prompts, noise):
        return super().start(prompts, noise / noise.std())


class FirstNoiseForAll(GaussianFlow):
    def advance(self, state, noise=None):
        return super().advance(state, noise[:1].expand_as(state.x))


class OneClock(GaussianFlow):
    def transition(self, state):
        return super().transition(replace(state, step=state.step[:1].expand_as(state.step)))


class Deaf(GaussianTurbo):
    def start(self, prompts, noise):
        return super().start(prompts, torch.zeros_like(noise))

    def advance(self, state, noise=None):
        return super().advance(state, torch.zeros_like(noise))


class InPlace(GaussianFlow):
    def start(self, prompts, noise):
        return super().start(prompts, noise.mul_(0.5))


class Steep(GaussianFlow):
    def render(self, state):
        media = super().render(state)
        return media + (media - media.detach())


class Switching(GaussianFlow):
    def start(self, prompts, noise):
        torch.set_grad_enabled(False)
        return super().start(prompts, noise)


class Learning(GaussianFlow):
    def start(self, prompts, noise):
        with torch.no_grad():
            self.network.std.add_(1e-3)
        return super().start(prompts, noise)


class FreeLunch(GaussianFlow):
    def start(self, prompts, noise):
        self.network(noise[:1], torch.ones(1), noise[:1])
        return super().start(prompts, noise)


class Unpadded(GaussianFlow):
    """Looks at seven rows where the physical batch has eight."""

    def _denoise(self, x, t, condition):
        made = super()._denoise(x[:7], t[:7], condition[:7])
        return made[[min(row, 6) for row in range(len(x))]]


class WrongKernel(GaussianFlow):
    def advance(self, state, noise=None):
        return super().advance(state, 2 * noise)


class LazyRewind(GaussianFlow):
    def rewind(self, state, step, noise):
        return replace(super().rewind(state, step, noise), step=state.step)


class Quiet(GaussianFlow):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stochastic = False

    def advance(self, state, noise=None):
        self.stochastic = True
        try:
            return super().advance(state, noise)
        finally:
            self.stochastic = False


class Bright(GaussianFlow):
    def render(self, state):
        return 3 * super().render(state)


class StuckStep(GaussianFlow):
    def advance(self, state, noise=None):
        return replace(super().advance(state, noise), step=state.step)


class Nameless(GaussianFlow):
    name = ""


BROKEN_MODELS = [
    (Nameless, "says_what_it_is"),
    (Bright, "media_are_pictures_or_clips"),
    (StuckStep, "steps_are_counted"),
    (Deaf, "noise_matters"),
    (BatchNorm, "other_rows_do_not_matter"),
    (FirstNoiseForAll, "gather_law"),
    (OneClock, "rows_may_stand_at_different_steps"),
    (GlobalNoise, "global_generators_do_not_matter"),
    (InPlace, "inputs_are_left_alone"),
    (Quiet, "stochastic_says_whether_noise_is_read"),
    (WrongKernel, "transition_is_the_kernel_of_advance"),
    (LazyRewind, "rewind_is_a_complete_state"),
    (Steep, "gradients_are_those_of_the_media"),
    (Switching, "gradient_mode_is_left_alone"),
    (Learning, "weights_stay"),
    (FreeLunch, "the_account_is_true"),
    (Unpadded, "the_account_is_true"),
    (FreeLunch, "the_account_is_true_after_an_exception"),
]


# Verifiers: each breaks one promise of this one.


class Careful:
    name = "careful"
    differentiable = True

    def __call__(self, media, prompts, *, progress=1.0):
        if len(prompts) != len(media):
            raise ValueError(f"{len(prompts)} prompts for {len(media)} pictures")
        return Scores(self.totals(media) + torch.tensor([0.1 * len(p) for p in prompts]))

    def totals(self, media):
        return torch.stack([picture.square().sum() + 0 * picture.std() for picture in media])


class NoName(Careful):
    name = None  # type: ignore[assignment]


class Column(Careful):
    def __call__(self, media, prompts, *, progress=1.0):
        return Scores(super().__call__(media, prompts).total[:, None])


class Relative(Careful):
    def totals(self, media):
        return super().totals(media) - super().totals(media).nanmean()


class Sorted(Careful):
    def totals(self, media):
        return super().totals(media).sort().values


class Moody(Careful):
    def totals(self, media):
        return super().totals(media) + torch.rand(len(media))


class ZeroForNan(Careful):
    def totals(self, media):
        return super().totals(media).nan_to_num(0)


class SpreadingNan(Careful):
    def totals(self, media):
        return super().totals(media) + 0 * media.sum()


class FirstPromptForAll(Careful):
    def __call__(self, media, prompts, *, progress=1.0):
        return super().__call__(media, list(prompts) + [prompts[0]] * (len(media) - len(prompts)))


class GradOff(Careful):
    def totals(self, media):
        torch.set_grad_enabled(False)
        return super().totals(media)


class Scribbler(Careful):
    def totals(self, media):
        return super().totals(media.detach().mul_(0.5))


class Detached(Careful):
    def totals(self, media):
        return super().totals(media.detach())


class WrongSlope(Careful):
    def totals(self, media):
        right = super().totals(media)
        return right + right - right.detach()


class UpsideDown(Careful):
    def totals(self, media):
        return -super().totals(media)


BROKEN_VERIFIERS = [
    (NoName, "says_what_it_is"),
    (Column, "one_finite_score_per_picture"),
    (Relative, "other_rows_do_not_matter"),
    (Sorted, "order_does_not_matter"),
    (Moody, "same_input_same_score"),
    (ZeroForNan, "broken_pictures_are_unscored"),
    (SpreadingNan, "broken_pictures_are_unscored"),
    (FirstPromptForAll, "missing_prompts_are_noticed"),
    (GradOff, "gradient_mode_and_input_are_left_alone"),
    (Scribbler, "gradient_mode_and_input_are_left_alone"),
    (Detached, "gradients_if_it_claims_them"),
    (WrongSlope, "gradients_if_it_claims_them"),
    (UpsideDown, "higher_is_better"),
]

# Searches: each breaks one promise of best_of_n; then settings whose `stream` is broken.


def careless(change):
    """Best-of-n with something done to its model, verifier, seeds or ledger first."""

    def search(model, verifier, prompt, *, rng, ledger, n: int | None = None):
        parts = {"model": model, "verifier": verifier, "rng": rng, "ledger": ledger}
        parts |= change(**parts) or {}
        model, verifier = parts.pop("model"), parts.pop("verifier")
        yield from best_of_n(model, verifier, prompt, n=n, **parts)

    return search


def altered(change):
    """Best-of-n with something done to each of its rounds."""

    def search(model, verifier, prompt, *, rng, ledger, n: int | None = None):
        for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n):
            yield change(round)

    return search


def no_election(verifier, **_):
    """The selector is not reckoned with."""
    verifier.looks = 1


def no_limit(ledger, **_):
    ledger.limit = {"scored": 40}


def lucky_seeds(rng, **_):
    rng.root = int(np.random.randint(2**31))  # noqa: NPY002


def other_start(rng, **_):
    rng.seeds(1)


def seeds_by_budget(rng, ledger, **_):
    rng.drawn = int(ledger.left("work")) if ledger.left("work") > 100 else 0


def train(model, **_):
    with torch.no_grad():
        model.network.std += 1e-3


def mode_across_yields(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    with torch.no_grad():
        yield from best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n)


def with_graph(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    while ledger.affords(price(model)) >= 4:
        seeds = rng.seeds(4)
        recipes = tuple((("gaussian", seed),) for seed in seeds)
        media = generate(model, [prompt] * 4, randn(seeds, model.noise_shape), recipes)
        yield Round(media, verifier(media, [prompt] * 4), recipes, seeds, (None,) * 4)


def previews_as_finished(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    seeds = rng.seeds(4)
    with torch.no_grad():
        media = model.render(model.start([prompt] * 4, randn(seeds, model.noise_shape)))
    recipes = tuple((("gaussian", seed),) for seed in seeds)
    yield Round(media, verifier(media, [prompt] * 4), recipes, tuple(range(4)), (None,) * 4)


def recycling(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    buffer = None
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n):
        buffer = round.media if buffer is None else buffer
        yield round._replace(media=buffer[: len(round.ids)].copy_(round.media))


def peeking(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    truth = Setting(best_of_n).verifier
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n):
        yield round._replace(scores=truth(round.media, [prompt] * len(round.ids)))


class Afterwards:
    """Books a verifier, correctly, when its whole call is over."""

    def __init__(self, verifier, ledger):
        self.verifier, self.ledger = verifier._verifier, ledger
        self.name, self.differentiable = verifier.name, verifier.differentiable

    def __call__(self, media, prompts, *, progress=1.0):
        scores = self.verifier(media, prompts, progress=progress)
        single: list[Any] = leaves(self.verifier)
        rows = len(prompts)
        filled = sum(-rows % verifier.batch_size for verifier in single)
        self.ledger.charge(Cost(scored=rows * len(single)), Cost(scored=filled))
        return scores


def asking_twice(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n):
        verifier._verifier(round.media, [prompt] * len(round.ids))
        yield round


def hushing(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    with suppress(Failure):
        yield from best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n)


def giving_up(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    for round in best_of_n(model, verifier, prompt, rng=rng, ledger=ledger, n=n):
        yield round
        if round.scores.total.isneginf().all():
            return


def unseeded_neighbours(model, verifier, prompt, *, rng, ledger, n: int | None = None):
    pivot = randn(rng.seeds(1), model.noise_shape)
    recipe = (("gaussian", rng.root),)
    for i in ledger.rounds(n, price(model).times(2)):
        noise = torch.cat([pivot, nearby(pivot, torch.randn_like(pivot), 0.9)])
        yield attempt(model, verifier, prompt, noise, [recipe] * 2, (2 * i, 2 * i + 1), (None, 2 * i))


class Forgetful(Setting):
    """Returns the best of the current round."""

    def stream(self, **changes):
        for progress in super().stream(**changes):
            row = int(progress.round.scores.total.argmax())
            assert progress.best is not None
            now = progress.best._replace(
                id=progress.round.ids[row],
                score=float(progress.round.scores.total[row]),
                media=progress.round.media[row],
                recipe=progress.round.recipes[row],
            )
            yield replace(progress, best=now)


class Nosy(Setting):
    """Lets the selector guide."""

    def stream(self, **changes):
        return super().stream(**{"verifier": changes.pop("select", self.verifier), **changes})


class Late(Setting):
    """Shows its progress when everything is over."""

    def stream(self, **changes):
        yield from list(super().stream(**changes))


BROKEN_SEARCHES = [
    (Setting(altered(lambda r: r._replace(ids=(0,) * len(r.ids)))), "rounds_are_whole"),
    (Setting(altered(lambda r: r._replace(parents=(99,) * len(r.ids)))), "rounds_are_whole"),
    (Setting(careless(lambda model, **_: {"model": model._model})), "the_account_is_true"),
    (Setting(careless(lambda verifier, **_: {"verifier": verifier._verifier})), "the_account_is_true"),
    (Setting(asking_twice), "the_account_is_true"),
    (Setting(careless(lambda model, **_: {"model": model._model})), "the_account_is_true_after_an_exception"),
    (
        Setting(careless(lambda verifier, ledger, **_: {"verifier": Afterwards(verifier, ledger)})),
        "the_account_is_true_after_an_exception",
    ),
    (Setting(careless(no_limit)), "never_more_than_the_limit"),
    (Setting(careless(lucky_seeds)), "same_seed_same_search"),
    (Setting(unseeded_neighbours), "same_seed_same_search"),
    (Setting(recycling), "best_is_the_best_so_far"),
    (Forgetful(best_of_n), "best_is_the_best_so_far"),
    (Setting(unseeded_neighbours), "pictures_come_back_from_their_recipes"),
    (Setting(previews_as_finished), "pictures_come_back_from_their_recipes"),
    (Setting(careless(lambda verifier, **_: {"verifier": verifier._verifier})), "nan_never_wins"),
    (Setting(hushing), "an_exception_keeps_the_best_so_far"),
    (Setting(giving_up), "a_round_without_any_score_ends_nothing"),
    (Setting(mode_across_yields), "gradient_mode_is_left_alone"),
    (Setting(with_graph), "gradient_mode_is_left_alone"),
    (Setting(careless(train)), "weights_stay"),
    (Setting(careless(other_start)), "one_sample_is_the_plain_picture"),
    (Nosy(best_of_n), "the_selector_does_not_steer"),
    (Setting(careless(no_election)), "a_limit_on_scores_pays_the_selector_too"),
    (Setting(careless(seeds_by_budget)), "a_longer_search_extends_a_shorter_one"),
    (Setting(peeking), "a_blind_verifier_gains_nothing"),
    (Late(best_of_n), "closing_keeps_the_best"),
]


@pytest.mark.parametrize(
    ("suite", "broken"),
    [(ModelLaws, BROKEN_MODELS), (VerifierLaws, BROKEN_VERIFIERS), (SearchLaws, BROKEN_SEARCHES)],
)
def test_every_law_has_somebody_who_breaks_it(suite, broken):
    assert {law for _, law in broken} == laws_of(suite)


def try_model(make, law):
    model = make((1, 4, 4), num_steps=4, churn=0.5, batch_size=8)
    known = {"model": model, "networks": {"nfe": model.network, "decoded": model.decoder}}
    call(ModelLaws, law, known)


def try_verifier(make, law):
    suite = VerifierLaws
    media = 0.3 + 0.4 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    rising = torch.stack([torch.full((3, 8, 8), level) for level in (0.2, 0.3, 0.6)])
    known = {"verifier": make(), "media": media, "prompts": ["a", "bb", "a", "ccc"], "ladder": (rising, ["a"] * 3)}
    call(suite, law, known)


@pytest.mark.parametrize(("make", "law"), BROKEN_MODELS)
def test_a_broken_model_is_caught(make, law):
    with pytest.raises(AssertionError):
        try_model(make, law)


@pytest.mark.parametrize(("make", "law"), BROKEN_VERIFIERS)
def test_a_broken_verifier_is_caught(make, law):
    with pytest.raises(AssertionError):
        try_verifier(make, law)


@pytest.mark.parametrize(("setting", "law"), BROKEN_SEARCHES)
def test_a_broken_search_is_caught(setting, law):
    with pytest.raises(AssertionError):
        call(SearchLaws, law, {"setting": setting})


@pytest.mark.parametrize("law", sorted(laws_of(VerifierLaws)))
def test_the_verifier_that_they_break_is_sound(law):
    assert try_verifier(Careful, law) is None
