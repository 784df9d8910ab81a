"""Remote critics and the ledger: what they charge is booked, limited, estimated and shown."""

from __future__ import annotations

import json

import pytest
import torch

from gensearch.core.ledger import BudgetSpent, Cost, Ledger
from gensearch.core.noise import randn
from gensearch.core.price import charges, election, price
from gensearch.engine.metered import MeteredVerifier
from gensearch.engine.run import run
from gensearch.models.fingerprint import verifier_hashes
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.pipeline import SearchPipeline
from gensearch.runs.format import charged
from gensearch.search.noise.best_of_n import best_of_n
from tests.builders.critic_server import serving
from verifiers.combine import Cascade, Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.tournament.elector import Tournament
from verifiers.vlm.chat import Chat
from verifiers.vlm.client import Client, Refused
from verifiers.vlm.critic import Critic, Field
from verifiers.vlm.decompose import Decomposed

PICTURES = randn(range(4), (3, 16, 16)).sigmoid()
PROMPTS = ["a photo of a cup"] * 4


def critic(state, name="critic", model="tiny", **options) -> Critic:
    """A critic with a price: 100 tokens read at 2 and 7 written at 10 microdollars are 270."""
    chat = Chat(Client(state.url, pause=0.001, timeout=5, price=(2.0, 10.0)), model)
    return Critic(chat, [Field("x", "How good is it?")], name=name, **options)


def refused(state) -> int:
    """How many requests were turned down: they cost nothing."""
    return len(state.bodies) - sum(state.answered.values())


def test_every_answer_is_booked():
    with serving() as state:
        ledger = Ledger()
        MeteredVerifier(critic(state), ledger)(PICTURES, PROMPTS)
        paid = len(state.bodies) - refused(state)
        assert paid == 5
        assert ledger.spent == Cost(scored=4, critic_tokens=107 * paid, microdollars=270 * paid)
        assert ledger.spent.work == 0


@pytest.mark.parametrize("wrap", [lambda x: WeightedSum(Term(x), Term(RandomScore())), lambda x: Decomposed(x)])
def test_a_critic_inside_another_verifier_is_booked_once(wrap):
    with serving() as state:
        ledger = Ledger()
        MeteredVerifier(wrap(critic(state, questions=3)), ledger)(PICTURES, PROMPTS)
        assert ledger.spent.microdollars == 270 * (len(state.bodies) - refused(state)) > 0


def test_what_was_spent_outside_is_not_booked_and_failures_are():
    with serving(fault=lambda number, body: "HTTP 401" if number > 5 else "") as state:
        mine, ledger = critic(state), Ledger()
        mine(PICTURES, PROMPTS)
        with pytest.raises(Refused):
            MeteredVerifier(mine, ledger)(PICTURES.flip(3), PROMPTS)
        assert ledger.spent == Cost(critic_tokens=107 * 2, microdollars=270 * 2)


@pytest.mark.parametrize("column", ["critic_tokens", "microdollars"])
def test_a_limit_is_kept_and_a_search_stops_before_it(column):
    with serving() as state:
        mine = critic(state)
        fee = getattr(charges(mine), column)
        assert fee == mine.fee[column] > 270
        most = fee + 2000
        found = run(best_of_n, GaussianTurbo(), mine, "a cup", limit={column: most}, compute=1000)
        spent = getattr(found.ledger.spent, column)
        assert 0 < spent <= most
        assert most - spent < fee
        assert found.stopped == "budget"
        before = len(state.bodies)
        with pytest.raises(BudgetSpent, match=column):
            run(best_of_n, GaussianTurbo(), mine, "a cup", limit={column: 0}, compute=4)
        assert len(state.bodies) == before


def test_the_price_of_a_sample_includes_guide_and_selector():
    with serving() as state:
        guide, selector = critic(state), critic(state, "other", "large", questions=5)
        model = GaussianTurbo()
        plain = price(model, RandomScore(), RandomScore())
        dear = price(model, guide, selector)
        assert dear == plain.plus(Cost(**guide.fee)).plus(Cost(**selector.fee))
        metered = MeteredVerifier(guide, Ledger(), selector)
        assert price(model, metered) == dear
        assert not state.bodies


def test_clips_are_reckoned_frame_by_frame():
    with serving() as state:
        mine = critic(state)
        ledger = Ledger({"critic_tokens": 5 * mine.fee["critic_tokens"]})
        with pytest.raises(BudgetSpent, match="needs"):
            MeteredVerifier(mine, ledger)(torch.zeros(1, 6, 3, 8, 8), ["a cup"])
        assert not state.bodies


def test_the_bill_in_words():
    assert charged({"nfe": 3}) == ""
    assert charged({"critic_tokens": 12345, "microdollars": 0}) == "12,345 critic tokens"
    assert charged({"critic_tokens": 10, "microdollars": 12300}) == "10 critic tokens, $0.0123"


def test_a_remote_model_has_a_hash_that_its_rubric_and_server_are_part_of():
    with serving() as state:
        one, same, model = critic(state), critic(state), critic(state, model="large")
        other = Critic(one.chat, [Field("x", "How bad is it?")])
        hashes = [verifier_hashes(each)["critic"] for each in (one, same, model, other)]
        assert hashes[0] == hashes[1]
        assert len(set(hashes)) == 3
        assert verifier_hashes(Decomposed(one))["critic"] == hashes[0]


def test_the_command_shows_the_bill_and_its_estimate(tmp_path, capsys):
    from gensearch.cli.main import main

    with serving() as state:
        text = f"url: {state.url}\nmodel: tiny\ncache: {tmp_path / 'kept'}\nprice: {{input: 2, output: 10}}\n"
        (tmp_path / "critic.yaml").write_text(f"{text}rubric: [{{name: x, question: How good is it}}]\n")
        words = ["generate", "a photo of a ring", "--model", "shapes/turbo", "--compute", "2"]
        words += ["--verifier", f"critic:{tmp_path / 'critic.yaml'}", "--out", str(tmp_path / "run")]
        for more in (["--dry-run"], []):
            with pytest.raises(SystemExit) as left:
                main([*words, *more])
            assert left.value.code == 0
            if more:
                assert not state.bodies
        said = capsys.readouterr().out
        paid = len(state.bodies) - refused(state)
        assert "critics:    at most" in said
        assert f"{107 * paid:,} critic tokens, ${270 * paid / 1e6:.4f}" in said
        report = (tmp_path / "run" / "report.html").read_text()
        assert "tokens of remote critics" in report
        assert (
            json.loads((tmp_path / "run" / "result.json").read_text())["ledger"]["spent"]["microdollars"] == 270 * paid
        )


@pytest.mark.parametrize("form", [Cascade, Tournament])
def test_elections_by_remote_critics_are_kept_back_and_booked(form):
    with serving() as state:
        mine = critic(state)
        elector = form(None, mine, keep=3)
        calls, pictures = (3, 1) if form is Cascade else (4, 2)
        assert election(elector).microdollars == calls * pictures * mine.fee["microdollars"]
        found = run(best_of_n, GaussianTurbo((3, 16, 16)), RandomScore(), "a cup", n=5, select=elector)
        assert found.error == ""
        assert found.ledger.spent.scored == 5 + calls
        assert found.ledger.spent.microdollars > 0


@pytest.mark.parametrize("guard", [True, False])
def test_what_holdouts_cost_is_booked_beside_the_budget(guard):
    with serving() as state:
        mine = critic(state)
        pipe = SearchPipeline(GaussianTurbo((3, 16, 16)), RandomScore(), compute=6, holdout=[mine], guard=guard)
        mine(PICTURES, PROMPTS)  # what was spent before is in no account
        before = state.asked, refused(state)
        out = pipe("a cup", limit={"microdollars": 0, "critic_tokens": 0})  # limits of the search alone
        paid = state.asked - before[0] - (refused(state) - before[1])
        assert paid == (6 if guard else 1) + 2
        assert out.aside == Cost(scored=paid, critic_tokens=107 * paid, microdollars=270 * paid)
        assert (out.result.ledger.spent.microdollars, out.result.ledger.spent.scored) == (0, 6)
        assert f"hold-outs took {charged(out.aside._asdict())}, beside the budget" in repr(out)


def test_a_holdout_that_fails_late_is_booked_for_what_it_answered():
    with serving(fault=lambda number, body: "HTTP 401" if number >= 7 else "") as state:
        pipe = SearchPipeline(GaussianTurbo((3, 16, 16)), RandomScore(), compute=6, holdout=[critic(state)])
        with pytest.warns(UserWarning, match="the hold-out critic gave no score"):
            out = pipe("a cup")
        assert (out.aside.microdollars, out.aside.scored) == (270 * 8, 6)  # seven answers, and the one to the probe


def test_paid_verifiers_that_pick_are_not_asked_again_and_a_split_corrects_them():
    with serving() as state:
        guide = WeightedSum(Term(critic(state)), Term(critic(state, "other", "large")))
        out = SearchPipeline(GaussianTurbo((3, 16, 16)), guide, compute=6)("a cup")
        assert state.asked == 12
        assert out.aside == Cost()
        assert out.guard is not None
        assert out.guard.corrected != out.guard.corrected
        assert out.guard.split == out.guard.split


def test_the_command_shows_what_holdouts_cost_apart(tmp_path, capsys):
    from gensearch.cli.main import main

    with serving() as state:
        text = f"url: {state.url}\nmodel: tiny\ncache: false\nprice: {{input: 2, output: 10}}\n"
        (tmp_path / "critic.yaml").write_text(f"{text}rubric: [{{name: x, question: How good is it}}]\n")
        words = ["generate", "a photo of a ring", "--model", "shapes/turbo", "--compute", "2", "--verifier", "redness"]
        words += ["--holdout", f"critic:{tmp_path / 'critic.yaml'}", "--out", str(tmp_path / "run")]
        for more in (["--dry-run"], []):
            with pytest.raises(SystemExit) as left:
                main([*words, *more])
            assert left.value.code == 0
            assert bool(state.bodies) == (not more)
        said = capsys.readouterr().out
        assert f"hold-outs took {107 * 4} critic tokens, ${270 * 4 / 1e6:.4f}, beside the budget" in said
        assert "hold-outs:  at most" in said
        report = (tmp_path / "run" / "report.html").read_text()
        assert f"Hold-outs, beside the budget: 4 scores, {107 * 4} critic tokens" in report
        found = json.loads((tmp_path / "run" / "result.json").read_text())
        assert found["aside"]["microdollars"] == 270 * 4
        assert found["ledger"]["spent"]["microdollars"] == 0
