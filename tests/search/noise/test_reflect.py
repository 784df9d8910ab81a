"""reflect: exact counts, parents, prompts in recipes, and the original prompt as the only one that is scored."""

from __future__ import annotations

import json

import pytest
import torch

from gensearch import registry
from gensearch.cli import main as cli
from gensearch.core.noise import moves_of_noise, prompt_of, randn, remake
from gensearch.core.price import price
from gensearch.core.sampling import again
from gensearch.engine.run import run, stream
from gensearch.files.images import decode
from gensearch.models.toy.gaussian import GaussianTurbo
from gensearch.search.noise.reflect import reflect
from gensearch.shapes.judge import ShapesJudge
from gensearch.testing import SearchLaws, Setting
from gensearch.testing.verifiers import LinearScore
from tests.builders.critic_server import serving
from tests.builders.exact_answers import exact_questions
from verifiers.catalogue import Entry
from verifiers.combine import Term, WeightedSum
from verifiers.controls.random import RandomScore
from verifiers.types import Scores
from verifiers.vlm.decompose import decompose

PROMPT = "a photo of a red star and a blue ring"
SWAPPED = "a photo of a blue ring and a red star"
SHAPE = (1, 4, 4)


class Facts:
    """Answers the questions of a prompt by projections of the picture, and remembers what it was asked to score."""

    name, differentiable, split = "facts", False, staticmethod(decompose)

    def __init__(self, chance=None):
        self.chance, self.prompts = chance, []

    def __call__(self, media, prompts, *, progress=1.0):
        self.prompts += prompts
        parts = {}
        for i, question in enumerate(decompose(prompts[0])):
            along = 8 * (media - 0.5) * randn([i], media.shape[1:])[0]
            parts[question] = (along.flatten(1).sum(1) - 3).sigmoid()
            if self.chance is not None:
                parts[question] = torch.full_like(parts[question], self.chance)
        return Scores(torch.stack([*parts.values()]).log().sum(0), parts)


class Later(Facts):
    """Each sample beats those before it, and fails everything."""

    def __call__(self, media, prompts, *, progress=1.0):
        first = len(self.prompts)
        scores = super().__call__(media, prompts)
        return Scores(
            torch.arange(first, first + len(media)).double(), dict.fromkeys(scores.parts, torch.zeros(len(media)))
        )


class Blind(RandomScore):
    """Random scores with a question that many samples fail."""

    split = staticmethod(decompose)

    def __call__(self, media, prompts, *, progress=1.0):
        total = super().__call__(media, prompts).total
        return Scores(total, {"Is there a ring?": total})


class TestReflect(SearchLaws):
    @pytest.fixture
    def search(self):
        return reflect

    @pytest.fixture
    def setting(self, search):
        return Setting(search, {"width": 3, "patience": 2}, verifier=Facts(), blind=Blind, prompt=PROMPT)


class TestReflectWithoutQuestions(TestReflect):
    @pytest.fixture
    def setting(self, search):
        return Setting(search)


def rounds_of(verifier, prompt=PROMPT, **knobs):
    return list(stream(reflect, GaussianTurbo(SHAPE), verifier, prompt, **{"seed": 3, **knobs}))


def wordings(rounds, prompt=PROMPT):
    return [[prompt_of(recipe, prompt) for recipe in p.round.recipes] for p in rounds]


@pytest.mark.parametrize(("rounds", "width"), [(1, 1), (4, 3), (6, 2), (3, 1)])
def test_a_round_costs_its_width(rounds, width):
    found = rounds_of(Facts(), rounds=rounds, width=width)
    assert [len(p.round.ids) for p in found] == [width] * rounds
    assert found[-1].ledger.spent == price(GaussianTurbo(SHAPE), Facts()).times(rounds * width)
    recipes = [recipe for p in found for recipe in p.round.recipes]
    assert len(set(recipes)) == rounds * width, "a sample was made twice"


@pytest.mark.parametrize(("compute", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (11, [4, 4, 3])])
def test_it_spends_what_it_has_and_no_more(compute, sizes):
    found = rounds_of(Facts(), compute=compute)
    assert [len(p.round.ids) for p in found] == sizes
    assert found[-1].ledger.spent.nfe == compute


def test_children_come_from_the_best_so_far_and_hold_its_noise():
    found = rounds_of(Facts(), rounds=12, width=3, cosine=0.7, patience=99)
    recipe_of, best, score = {}, None, float("-inf")
    told = []
    for p in found:
        round = p.round
        assert set(round.parents) == {best}
        for id, recipe, parent in zip(round.ids, round.recipes, round.parents, strict=True):
            recipe_of[id] = recipe
            if parent is not None:
                x, y = (remake(recipe_of[i], SHAPE).double().flatten() for i in (parent, id))
                same = moves_of_noise(recipe) == moves_of_noise(recipe_of[parent])
                told.append(same)
                assert not same or prompt_of(recipe, PROMPT) != prompt_of(recipe_of[parent], PROMPT)
                assert float(x @ y / (x.norm() * y.norm())) == pytest.approx(1 if same else 0.7, abs=1e-6)
        for id, total in zip(round.ids, round.scores.total.tolist(), strict=True):
            if total > score:
                best, score = id, total
    assert 0 < sum(told) < len(told) / 2


def test_only_the_original_prompt_is_scored():
    verifier = Facts()
    found = rounds_of(verifier, rounds=6)
    assert set(verifier.prompts) == {PROMPT}
    assert {text for row in wordings(found) for text in row} == {PROMPT, SWAPPED}


def test_each_new_best_is_reworded_once_then_its_neighbours_follow_then_fresh_noise():
    found = rounds_of(Facts(0.1), rounds=6, width=2, patience=2)  # all equal: the first sample stays the best
    assert wordings(found) == [[PROMPT] * 2, [SWAPPED] * 2, *[[PROMPT] * 2] * 4]
    assert [set(p.round.parents) for p in found] == [{None}, {0}, {0}, {None}, {None}, {None}]
    assert found[1].round.recipes[0] == (("gaussian", 3), ("prompt", SWAPPED))
    later = rounds_of(Later(), rounds=4, width=2)
    assert [row[0] for row in wordings(later)] == [PROMPT, SWAPPED, PROMPT, SWAPPED]
    assert [p.round.parents[0] for p in later] == [None, 1, 3, 5]
    assert all([move for move, *_ in recipe].count("prompt") <= 1 for p in later for recipe in p.round.recipes)


@pytest.mark.parametrize(
    ("verifier", "prompt"),
    [
        (Facts(0.9), PROMPT),
        (Facts(0.5), PROMPT),
        (Facts(0.1), "a photo of a ring"),
        (WeightedSum(Term(LinearScore(torch.ones(SHAPE))), Term(RandomScore(2))), PROMPT),
    ],
    ids=["nothing fails", "undecided", "no other wording", "no questions"],
)
def test_without_another_wording_neighbours_are_tried(verifier, prompt):
    found = rounds_of(verifier, prompt=prompt, rounds=3)
    assert {text for row in wordings(found, prompt) for text in row} == {prompt}
    assert found[1].round.parents[0] is not None


def test_a_verifier_without_questions_is_said_and_one_with_questions_is_not(caplog):
    rounds_of(Facts(), rounds=2)
    assert not caplog.records
    rounds_of(LinearScore(torch.ones(SHAPE)), rounds=5)
    assert [record.getMessage() for record in caplog.records] == [
        "linear asks no questions, so reflect rewrites no prompt; take a verifier that does"
    ]


def test_questions_are_found_inside_a_sum_and_reach_the_rewriter_as_they_were_asked():
    calls = []

    def write(prompt, current, failed):
        calls.append((prompt, current, tuple(failed)))
        return f"{current} again"

    both = WeightedSum(Term(Later()), Term(RandomScore(2)))
    found = rounds_of(both, rounds=3, rewrite=write)
    questions = decompose(PROMPT)
    assert calls[0] == (PROMPT, PROMPT, questions)
    assert set(wordings(found)[1]) == {f"{PROMPT} again"}


@pytest.mark.parametrize("text", ["", "a\x00star", "star " * 500])
def test_a_rewriter_that_returns_no_prompt_is_refused(text):
    with pytest.warns(UserWarning, match="ended early.*prompt"):
        rounds_of(Later(), rounds=3, rewrite=lambda prompt, current, failed: text)


def test_the_account_pays_for_a_language_model(tmp_path):
    with serving() as state:
        file = tmp_path / "writer.yaml"
        file.write_text(f"url: {state.url}\nmodel: tiny\ncache: false\nprice: {{input: 1, output: 10}}\n")
        found = rounds_of(Later(), rounds=3, width=2, rewrite=f"critic:{file}")
        assert wordings(found)[1] == [f"{PROMPT}, in sharp detail"] * 2
        requests, answered = len(state.bodies), sum(state.answered.values())
        assert answered >= 2
        assert found[-1].ledger.spent.critic_tokens == 107 * answered
        assert found[-1].ledger.spent.microdollars == 170 * answered
        poor = rounds_of(Later(), limit={"critic_tokens": 50, "nfe": 8}, rewrite=f"critic:{file}")
        assert len(state.bodies) == requests, "a request that the limit cannot pay for was sent"
        assert poor[-1].ledger.spent.nfe == 8


def test_a_broken_server_does_not_end_the_search(tmp_path, caplog):
    with serving(fault=lambda number, body: "HTTP 400") as state:
        file = tmp_path / "writer.yaml"
        file.write_text(f"url: {state.url}\nmodel: tiny\ncache: false\n")
        found = rounds_of(Later(), rounds=4, width=2, rewrite=f"critic:{file}")
    assert len(found) == 4
    assert {text for row in wordings(found) for text in row} == {PROMPT}
    assert caplog.text.count("the prompt stays as it is") == 3


# --- the embedded model


def gensearch(*words) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return left.value.code


def test_a_rewritten_winner_replays_bit_for_bit(tmp_path, monkeypatch, capsys):
    prompt, other = "a photo of a ring left of a star", "a photo of a star right of a ring"
    monkeypatch.setitem(registry.VERIFIERS, "later", Entry(Later, ""))
    words = ["--model", "shapes/turbo", "--verifier", "later", "--search", "reflect", "--compute", 4]
    words += ["--knob", "width=2", "--out", tmp_path / "run"]
    assert gensearch("generate", prompt, *words) == 0
    pixels, text = decode(tmp_path / "run" / "best.png")
    about = json.loads(text["gensearch"])
    assert about["config"]["prompt"] == prompt
    assert about["recipe"][-1] == ["prompt", other]
    assert text["parameters"].startswith(f"{other}\n"), "other programs make the picture from what it was made from"
    assert gensearch("replay", tmp_path / "run") == 0
    assert "bit-exact" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"<td>{other}</td><td>#2, #3</td>" in page
    assert f"<td>generated from</td><td>{other}</td>" in page
    model = registry.load_model("shapes/turbo")
    recipe = tuple(map(tuple, about["recipe"]))
    noise = remake(recipe, model.noise_shape)
    told, plain = (again(model, prompt, noise, own, (2,)) for own in (recipe, moves_of_noise(recipe)))
    assert not torch.equal(told, plain), "the prompt of the recipe changes the picture"


def test_questions_with_the_exact_answers_end_in_what_the_exact_judge_accepts():
    model, prompt = registry.load_model("shapes/turbo"), "a photo of a green circle and a red heart"
    verifier = exact_questions()
    found = run(reflect, model, verifier, prompt, compute=12, seed=2)
    right = bool(ShapesJudge()(found.best.media[None], [prompt]).total)
    assert (found.best.score == pytest.approx(4 * torch.tensor(0.95).log().item(), abs=1e-5)) == right
    asked = {question for call in verifier.judge.seen for row in call for question in row}
    assert asked == set(decompose(prompt)), "a rewritten prompt was scored"
