from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gensearch import registry
from gensearch.core.noise import randn
from tests.builders.critic_server import serving, truth
from verifiers.vlm.critic import CARD, Critic, Field
from verifiers.vlm.critic_file import load
from verifiers.vlm.decompose import Decomposed
from verifiers.vlm.messages import picture

ROOT = Path(__file__).parents[3]
LINES = "url: http://127.0.0.1:1/v1\nmodel: tiny\n"
RUBRIC = "rubric:\n  - {name: a, question: How good}\n"


@pytest.fixture
def file(tmp_path):
    """Writes a YAML file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "critic.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_critic_by_name_scores_and_keeps_its_answers(tmp_path, file):
    pictures = randn(range(2), (3, 12, 10)).sigmoid()
    with serving() as state:
        text = f"url: {state.url}\nmodel: tiny\ncache: {tmp_path / 'kept'}\nprice: {{input: 1, output: 2}}\n"
        name = f"critic:{file(text + RUBRIC)}"
        total = registry.verifier(f"{name}+0.5*random")(pictures, ["a cup"] * 2).parts[name]
        lines = [truth(picture(one)["image_url"]["url"], "a cup", "How good (0 worst, 10 best)") for one in pictures]
        torch.testing.assert_close(total, torch.tensor(lines))
        asked = state.asked
        assert torch.equal(registry.verifier(name)(pictures, ["a cup"] * 2).total, total)
        assert state.asked == asked == 2


def test_all_fields(file):
    text = LINES + "key: MY_KEY\nconcurrency: 3\ntimeout: 9\npicture_tokens: 100\ncombine: minimum\ncache: false\n"
    text += "price: {input: 0.5, output: 1e1}\nrubric: [{name: a, question: Good, range: [1, 5], weight: 2}]\n"
    verifier = load(file(text))
    assert isinstance(verifier, Critic)
    client = verifier.chat.client
    assert (client.variable, client.concurrency, client.timeout, client.price) == ("MY_KEY", 3, 9, (0.5, 10.0))
    assert client.cache.folder is None
    assert verifier.rubric == (Field("a", "Good", 1, 5, 2),)
    assert verifier.fee["critic_tokens"] > 0
    assert verifier.endpoint == "http://127.0.0.1:1/v1 tiny"


@pytest.mark.parametrize(
    ("questions", "prompt", "wanted"),
    [
        ("rules", "a photo of a red cup", ("Is there a cup?", "Is the cup red?")),
        ("['Is it {prompt}?', 'Is it sharp?']", "a {x}", ("Is it a {x}?", "Is it sharp?")),
    ],
)
def test_questions(file, questions, prompt, wanted):
    verifier = load(file(f"{LINES}combine: geometric\nquestions: {questions}\n"))
    assert isinstance(verifier, Decomposed)
    assert verifier.combine == "geometric"
    assert tuple(verifier.split(prompt)) == wanted


def test_a_model_splits_prompts(file):
    with serving("hosted") as state:
        verifier = load(file(f"url: {state.url}\nmodel: tiny\ncache: false\nquestions: model\n"))
        scores = verifier(randn([0], (3, 12, 10)).sigmoid(), ["red cup"])
        assert set(scores.parts) == {"Is there red?", "Is there cup?"}


def test_the_default_cache_is_in_the_cache_of_the_user(file, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    verifier = load(file(LINES + RUBRIC))
    assert isinstance(verifier, Critic)
    assert verifier.chat.client.cache.folder == tmp_path / "c" / "gensearch" / "critics"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RUBRIC, "model is missing|url is missing"),
        (LINES, "either rubric or questions"),
        ("- 1", "holds no mapping"),
        (LINES + RUBRIC + "questions: rules", "and not both"),
        (LINES + RUBRIC + "urls: x", "the field 'urls'"),
        (LINES + RUBRIC + "key: sk-123-secret", "never the key itself"),
        (LINES + RUBRIC + "concurrency: 0", "from 1 to"),
        (LINES + RUBRIC + "timeout: .inf", "timeout is inf"),
        (LINES + RUBRIC + "price: 3", "DOLLARS"),
        (LINES + RUBRIC + "price: {input: -1}", "input is -1"),
        (LINES + RUBRIC + "combine: sum", "combine is 'sum'"),
        (LINES + "questions: rules\ncombine: mean", "questions have product"),
        (LINES + "questions: guess", "questions must"),
        (LINES + "questions: []", "questions must"),
        (LINES + "rubric: []", "1 to 20 fields"),
        (LINES + "rubric: 1", "1 to 20"),
        (LINES + "rubric: [{name: A b, question: x}]", "lower-case"),
        (LINES + "rubric: [{name: id, question: x}]", "'id'"),
        (LINES + RUBRIC + "  - {name: a, question: x}", "'a' is no new"),
        (LINES + "rubric: [{name: a}]", "question is missing"),
        (LINES + "rubric: [{name: a, question: x, range: [5, 1]}]", "two rising"),
        (LINES + "rubric: [{name: a, question: x, range: [0, .nan]}]", "two rising"),
        (LINES + "rubric: [{name: a, question: x, weight: 0}]", "weight is 0"),
        (LINES + "rubric: [{name: a, question: x, wieght: 2}]", "'wieght'"),
        (LINES + RUBRIC + "cache: 3", "cache is 3"),
        (LINES + RUBRIC + "model: again", "is there twice"),
        ("url: ftp://a\nmodel: x\n" + RUBRIC, "url must be"),
        ("a: &a [1]\nb: &b [*a, *a]\nmodel: [*b, *b]", "an alias of a list"),
        ("#" * 100_001, "at most 100000 bytes"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("\x00", "bad YAML|special"),
    ],
)
def test_a_field_that_is_unfit_is_an_error_of_one_line(file, text, words):
    with pytest.raises(ValueError, match=words) as refusal:
        load(file(text))
    assert "\n" not in str(refusal.value)
    assert "sk-123" not in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot read the critic"):
        registry.verifier(f"critic:{tmp_path / 'none.yaml'}")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "critics").glob("*.yaml")))
def test_examples_can_be_loaded(path):
    assert load(str(path)).name == f"critic:{path}"
    assert CARD.input == "pictures"
