"""The laws of searches as a pytest class: subclass `SearchLaws` and give it a `search` fixture."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import wraps
from typing import Any

import pytest
import torch

from gensearch.core.errors import NothingScored
from gensearch.core.ledger import BudgetSpent, Cost
from gensearch.core.limits import CONTROLS
from gensearch.core.price import price
from gensearch.core.sampling import sizes_behind
from gensearch.core.types import Round, Search
from gensearch.engine.run import result
from gensearch.testing.setting import (
    Batched,
    Blinking,
    Failing,
    Setting,
    Unscorable,
    digest,
    finished,
    outputs,
    watched,
)
from gensearch.testing.witness import assert_booked, counting, disturb, global_state, weights_of
from verifiers.combine import Term, WeightedSum
from verifiers.controls.random import RandomScore


class SearchLaws:
    """The laws of searches; override `setting` for other models, knobs, verifiers or weaker laws."""

    @pytest.fixture
    def search(self) -> Search:
        """The search under test."""
        raise NotImplementedError("give your subclass of SearchLaws a `search` fixture")

    @pytest.fixture
    def setting(self, search: Search) -> Setting:
        """The search with its model, verifier and budget."""
        return Setting(search)

    def test_rounds_are_whole(self, setting: Setting) -> None:
        """Every column of a round has one entry per sample; ids are new, parents are old; media lie in [0, 1]."""
        known: set[int] = set()
        for progress in setting.rounds():
            round = progress.round
            sizes = {
                len(column) for column in (round.media, round.scores.total, round.recipes, round.ids, round.parents)
            }
            assert sizes == {len(round.ids)}
            assert len(set(round.ids)) == len(round.ids)
            assert not known & set(round.ids), "an id was used twice"
            known |= set(round.ids)
            assert {parent for parent in round.parents if parent is not None} <= known, "a parent is no earlier sample"
            assert bool(round.media.ge(0).all() & round.media.le(1).all())

    def test_the_account_is_true(self, setting: Setting) -> None:
        """Spent plus padding is what forward hooks count on the real modules, the verifier's too, after every round."""
        verifier = Batched(setting.verifier)
        networks = {**setting.networks, "scored": verifier.network}
        with counting(networks) as counted:
            for progress in setting.stream(verifier=verifier):
                assert_booked(progress.ledger, networks, counted)
        assert counted[setting.column] > 0

    def test_the_account_is_true_after_an_exception(self, setting: Setting) -> None:
        """The same when a verifier, a network or, in a sum, the next verifier fails in the middle."""
        calls = 2 * setting.model.num_steps + 3
        ledgers: list[Any] = []

        @wraps(setting.search)
        def spying(*args: Any, ledger: Any, **kwargs: Any) -> Iterator[Round]:
            ledgers.append(ledger)
            yield from setting.search(*args, ledger=ledger, **kwargs)

        for inner, fail_at, more in (
            (Failing(setting.verifier, 1), None, []),
            (setting.verifier, calls, []),
            (setting.verifier, None, [Term(Failing(setting.verifier, 0))]),
        ):
            verifier = Batched(inner)
            networks = {**setting.networks, "scored": verifier.network}
            with counting(networks, fail_at) as counted:
                guide = WeightedSum(Term(verifier), *more) if more else verifier
                _, error = setting.broken_off(search=spying, verifier=guide)
            assert "as staged" in error, "nothing failed, or the failure was lost"
            assert_booked(ledgers[-1], networks, counted)

    def test_an_exception_keeps_the_best_so_far(self, setting: Setting) -> None:
        """A verifier that fails in a late round ends the search with the best of the rounds before."""
        whole = setting.rounds()
        for at in range(len(whole)):
            rounds, error = setting.broken_off(verifier=Failing(setting.verifier, at))
            assert "as staged" in error, "the failure was lost"
            assert finished(rounds) == finished(whole)[: len(finished(rounds))], "the search before it is another one"
            if not finished(rounds):
                continue
            kept = result(rounds[-1])
            assert kept.stopped == "error", "an exception is no usual end"
            assert kept.best.score == max(score for _, score, _, _ in finished(rounds)), "the best so far is lost"

    def test_a_round_without_any_score_ends_nothing(self, setting: Setting) -> None:
        """One call in which nothing can be scored costs its own samples, whichever call it is."""
        whole = setting.rounds()
        usual = result(whole[-1])
        for at in range(3):
            try:
                found = setting.result(verifier=Blinking(setting.verifier, at))
            except NothingScored:
                assert sum(progress.round.done for progress in whole) == 1, "more than one round was finished"
                continue
            assert found.stopped != "error"
            assert found.ledger.spent.work >= usual.ledger.spent.work / 2, "the search gave up"
            assert found.best.score > float("-inf"), "an unscored sample won"

    def test_never_more_than_the_limit(self, setting: Setting) -> None:
        """Whatever the limit, zero included, it holds or the search refuses."""
        column, unit = setting.column, getattr(price(setting.model), setting.column)
        step = unit // setting.model.num_steps
        tight = [{column: n} for n in (0, 1, unit - 1, unit, unit + 1, 3 * unit + step, 7 * unit - 1, 11 * unit + 1)]
        tight += [
            {"decoded": 0},
            {"scored": 0},
            {"decoded": 5},
            {"scored": 1},
            {"scored": 6},
            {column: 9 * unit, "scored": 3},
        ]
        for limit in tight:
            with counting(setting.networks) as counted:
                try:
                    rounds = setting.rounds(limit=limit)
                except BudgetSpent:
                    rounds = []
            spent = rounds[-1].ledger.spent if rounds else Cost()
            padding = rounds[-1].ledger.padding if rounds else Cost()
            for name, most in limit.items():
                used = counted[name] - getattr(padding, name) if name in counted and rounds else getattr(spent, name)
                assert used <= most, f"{used} {name} were used with a limit of {most}"
            if 0 in limit.values():
                assert not counted, "a network ran on an empty account"

    def test_same_seed_same_search(self, setting: Setting) -> None:
        """The seed decides everything, global generators nothing, and they are not touched."""
        disturb(1)
        first = outputs(setting.rounds())
        disturb(2)
        before = global_state()
        second = outputs(setting.rounds())
        assert first == second, "a global generator changed the search"
        assert global_state() == before, "a global generator was used"
        assert outputs(setting.rounds(seed=6)) != first, "the seed does not matter"

    def test_best_is_the_best_so_far(self, setting: Setting) -> None:
        """After every round the best is the highest finished score, never a preview; the curve never falls."""
        rounds = setting.rounds()
        for i, progress in enumerate(rounds):
            done = finished(rounds[: i + 1])
            assert (progress.best is None) is (not done), "the best is a finished sample, and there if one is"
            if progress.best and progress.base:
                best = progress.best
                assert best.score == max(score for _, score, _, _ in done), "best is not the best so far"
                assert (best.id, best.score, digest(best.media), best.recipe) in done, "best is not a finished sample"
                assert progress.base.id == done[0][0]
        curve = rounds[-1].curve
        assert all(a.best <= b.best for a, b in zip(curve, curve[1:], strict=False)), "the curve falls"
        assert all(a.spent.work <= b.spent.work for a, b in zip(curve, curve[1:], strict=False))
        assert rounds[-1].best is not None

    def test_pictures_come_back_from_their_recipes(self, setting: Setting) -> None:
        """Every finished sample renders again from its recipe, in batches of its copies, bit for bit."""
        made = [progress.round for progress in setting.rounds() if progress.round.done]
        assert made
        for round in made:
            for row, made_in in enumerate(sizes_behind(setting.model, round)):
                again = setting.replay(setting.model, setting.prompt, round.recipes[row], made_in)
                assert digest(again) == digest(round.media[row]), f"sample {round.ids[row]} does not come back"

    def test_nan_never_wins(self, setting: Setting) -> None:
        """Unscored samples are counted and lose; a search without any score raises at its end."""
        verifier = Unscorable(setting.verifier, 0.4)
        rounds = setting.rounds(verifier=verifier)
        best = rounds[-1].best
        assert verifier.refused > 0, "this law needs a longer search: nothing was unscored"
        assert rounds[-1].unscored == verifier.refused
        assert best is not None
        assert best.score > float("-inf")
        verifier = Unscorable(setting.verifier, 0.4)
        assert not verifier(best.media[None], [setting.prompt]).total.isnan(), "an unscored sample won"
        with pytest.raises(ValueError, match="could score none"):
            setting.rounds(verifier=Unscorable(setting.verifier, 2.0))

    def test_gradient_mode_is_left_alone(self, setting: Setting) -> None:
        """In every pause the mode is the caller's, and nothing that was yielded holds a graph."""
        for mode in (True, False):
            with torch.set_grad_enabled(mode):
                for progress in setting.stream():
                    assert torch.is_grad_enabled() is mode, "gradient mode leaks through a yield"
                    scores = progress.round.scores
                    for values in (progress.round.media, scores.total, *scores.parts.values()):
                        assert not values.requires_grad, "a yielded tensor holds a graph"
                assert torch.is_grad_enabled() is mode

    def test_weights_stay(self, setting: Setting) -> None:
        """Parameters keep their bits and get no gradients."""
        before = weights_of(setting.networks)
        setting.rounds()
        assert weights_of(setting.networks) == before, "the search changed the model"

    def test_one_sample_is_the_plain_picture(self, setting: Setting) -> None:
        """With the budget of one sample, the search returns the plain sample of its seed, bit for bit."""
        outcome = setting.result(compute=1, seed=23)
        plain = setting.replay(setting.model, setting.prompt, (("gaussian", 23),))
        assert digest(outcome.best.media) == digest(plain), "one candidate is not the plain picture"
        assert outcome.ledger.spent.nfe == price(setting.model).nfe
        assert outcome.ledger.spent.decoded == 1

    def test_the_selector_does_not_steer(self, setting: Setting) -> None:
        """Replacing the selector changes the pick at most, never what is tried; a control refuses a selector."""
        if setting.search.__name__ in CONTROLS:
            with pytest.raises(ValueError, match="no control"):
                setting.stream(select=RandomScore())
            return
        alone = outputs(setting.rounds())
        for seed in (1, 2):
            rounds = setting.rounds(select=RandomScore(seed, name="other"))
            assert outputs(rounds) == alone, "the selector changed the search"
            best = rounds[-1].best
            assert best is not None
            pick = RandomScore(seed)(best.media[None], [setting.prompt]).total.item()
            assert best.score == pytest.approx(pick), "the selector did not select"

    def test_a_limit_on_scores_pays_the_selector_too(self, setting: Setting) -> None:
        """A limit that pays for one sample and its selection ends with a winner, and is kept."""
        if setting.search.__name__ in CONTROLS:
            return
        least = price(setting.model, setting.verifier, RandomScore()).scored
        for most in (least, least + 1, 3 * least, 7 * least - 1):
            limit = {"scored": most, setting.column: 20 * getattr(price(setting.model), setting.column)}
            try:
                found = setting.result(select=RandomScore(1, name="other"), limit=limit)
            except BudgetSpent as error:
                raise AssertionError(f"with {most} scores the selector could not be paid") from error
            assert found.ledger.spent.scored <= most
            assert found.best.score > float("-inf")

    def test_a_longer_search_extends_a_shorter_one(self, setting: Setting) -> None:
        """Twice the compute begins with the same samples and ends no worse."""
        short, long = setting.rounds(), setting.rounds(compute=2 * setting.compute)
        assert short[-1].best is not None
        assert long[-1].best is not None
        if setting.extends:
            assert finished(long)[: len(finished(short))] == finished(short), "a longer search tries other samples"
            assert long[-1].best.score >= short[-1].best.score
        assert long[-1].ledger.spent.work > short[-1].ledger.spent.work

    def test_a_blind_verifier_gains_nothing(self, setting: Setting) -> None:
        """Guided by random scores, the winner is as good as a plain sample, within 4 standard errors."""
        winners, plain = [], []
        for seed in range(60):
            best = setting.result(verifier=setting.blind(seed), compute=5, seed=1000 + seed).best
            winners.append(best.media)
            plain.append(setting.replay(setting.model, setting.prompt, (("gaussian", 1000 + seed),)))
        prompts = [setting.prompt] * 60
        gain = (
            setting.verifier(torch.stack(winners), prompts).total - setting.verifier(torch.stack(plain), prompts).total
        )
        error = gain.std().item() / 60**0.5
        assert abs(gain.mean().item()) <= 4 * error, f"a blind search gains {gain.mean():.3f} +- {error:.3f}"

    def test_closing_keeps_the_best(self, setting: Setting) -> None:
        """A caller may stop after any finished round: the body's `finally` runs at once and the best is kept."""
        log: list[str] = []
        progress = setting.stream(search=watched(setting.search, log))
        for last in progress:
            if last.best:
                break
        assert not log, "the search did all its work before the first pause"
        assert isinstance(progress, Generator)
        progress.close()
        assert log == ["ended"], "the search's `finally` did not run"
        outcome = result(last, closed=True)
        assert outcome.stopped == "closed"
        assert outcome.best == last.best
