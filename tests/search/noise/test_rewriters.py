"""Rewriters: facts stay, what failed comes first, and a language model can neither harm nor stop a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gensearch.evaluate
from gensearch.core.limits import check_prompt
from gensearch.search.noise.rewriters import LanguageRewriter, emphasis, rewriter
from gensearch.shapes import world
from tests.builders.critic_server import FAULTS, KINDS, serving
from verifiers.vlm.chat import Chat
from verifiers.vlm.client import Client
from verifiers.vlm.decompose import decompose, sentence

PAIR = "a photo of a red star and a blue ring"
SWAPPED = "a photo of a blue ring and a red star"
PLACED = "a photo of a ring left of a star"


@pytest.mark.parametrize(
    ("current", "failed", "expected"),
    [
        (PAIR, "Is the star red?", PAIR),  # first already
        (PAIR, "Is there a ring?", SWAPPED),
        (PAIR, "Is the ring blue?", SWAPPED),
        (SWAPPED, "Is the star red?", PAIR),
        (PLACED, "Is there a ring?", PLACED),
        (PLACED, "Is there a star?", "a photo of a star right of a ring"),
        (PLACED, "Is the ring left of the star?", "a photo of a star right of a ring"),
        ("a photo of a star above a ring", "Is it sharp?", "a photo of a ring below a star"),
        ("a photo of a star below a ring", "Is there a ring?", "a photo of a ring above a star"),
        ("A Photo of  a Dog to the Right of a cup.", "Is there a cup?", "A Photo of a cup to the left of a Dog"),
        ("two cups and a dog", "Is there a dog?", "a dog and two cups"),
        ("a cat and a dog and a cup", "Is there a dog?", "a dog and a cat and a cup"),
        ("a photo of three red stars", "Are all the stars red?", "a photo of three red stars"),
        ("a photo of a ring", "Is there a ring?", "a photo of a ring"),
        ("a cat that sleeps", "Is there a cat?", "a cat that sleeps"),
        ("", "Is there a cat?", ""),
    ],
)
def test_what_failed_is_named_first(current, failed, expected):
    assert emphasis("the original is not read", current, [failed]) == expected


def things(prompt):
    """The facts of a prompt as a set: its clauses, and for a relation its objects in one fixed order."""
    include = world.parse(prompt)["include"]
    facts = {json.dumps({k: v for k, v in c.items() if k != "position"}, sort_keys=True) for c in include}
    for c in include:
        if "position" in c:
            relation, other = c["position"]
            first, second = c["class"], include[other]["class"]
            mirrored = {"right of": "left of", "below": "above"}.get(relation)
            facts.add(str((mirrored, second, first) if mirrored else (relation, first, second)))
    return facts


def test_every_prompt_of_the_shapes_world_keeps_its_facts():
    changed = 0
    for line in world.lines()[::3]:
        prompt = line["prompt"]
        for question in decompose(prompt):
            other = emphasis(prompt, prompt, [question])
            assert things(other) == things(prompt), (prompt, other)
            assert emphasis(prompt, other, [question]) in (prompt, other)
            changed += other != prompt
    assert changed > 1000


def test_every_prompt_of_geneval_keeps_its_objects_and_reads_back():
    path = Path(gensearch.evaluate.__file__).parent / "prompts" / "evaluation_metadata.jsonl"
    prompts = [json.loads(line)["prompt"] for line in path.read_text().splitlines()] if path.is_file() else []
    prompts += [line["prompt"] for line in world.benchmark()]
    for prompt in prompts:
        asked = decompose(prompt)
        other = emphasis(prompt, prompt, asked)
        read = sentence(prompt)
        assert read is not None
        single = len(read.phrases) == 1
        assert (other == prompt) == single
        assert emphasis(prompt, other, asked) == prompt, "the other wording of the other wording is the first"
        of_things = [question for question in asked if " the " not in question or question.count(" the ") == 1]
        assert set(of_things) - set(decompose(other)) <= {q for q in asked if any(r in q for r in world.RELATIONS)}


def test_an_unknown_rewriter_is_refused(tmp_path):
    for name in ("emphasise", "critic:", "critic", ""):
        with pytest.raises(ValueError, match="take emphasis or critic:FILE.yaml"):
            rewriter(name)
    with pytest.raises(ValueError, match="cannot read the critic"):
        rewriter(f"critic:{tmp_path / 'none.yaml'}")
    file = tmp_path / "half.yaml"
    file.write_text("url: http://127.0.0.1:1/v1\n")
    with pytest.raises(ValueError, match="model is missing"):
        rewriter(f"critic:{file}")
    known: dict[Any, Any] = {"emphasis": emphasis, str.upper: str.upper}
    assert all(rewriter(given) is wanted for given, wanted in known.items())


# --- language models


def told_by(state, **settings):
    """A rewriter on a test server."""
    return LanguageRewriter(Chat(Client(state.url, pause=0.001, timeout=2.0, **settings), "tiny"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_server_rewrites(kind):
    with serving(kind) as state:
        write = told_by(state, price=(2.0, 10.0))
        assert write("red cup", "red cup", ["Is the cup red?"]) == "red cup, in sharp detail"
        said = json.dumps(state.bodies[-1])
        assert "Is the cup red?" in said
        assert "last wording" not in said
        write("red cup", "one red cup", ["Is the cup red?"])
        assert "one red cup" in json.dumps(state.bodies[-1])
        bill = write.bill()
        assert bill["critic_tokens"] >= 2 * 107
        assert bill["microdollars"] >= 2 * (100 * 2 + 7 * 10)
        assert write.bill() == {"critic_tokens": 0, "microdollars": 0}
        assert not write.failures


def test_a_file_names_the_model(tmp_path):
    with serving() as state:
        file = tmp_path / "writer.yaml"
        file.write_text(f"url: {state.url}\nmodel: tiny\ncache: false\nquestions: rules\n")
        write = rewriter(f"critic:{file}")
        assert write("a cup", "a cup", ["Is there a cup?"]) == "a cup, in sharp detail"
        assert state.bodies[-1]["model"] == "tiny"


@pytest.mark.parametrize("fault", [*FAULTS, "HTTP 401", "HTTP 400", "prose", "types", "more keys", "empty", "cut json"])
def test_a_server_that_fails_keeps_the_prompt_and_is_counted(fault, caplog):
    if fault == "slow":
        pytest.skip("a time-out is a transport error, as a reset is")
    with serving(fault=lambda number, body: fault) as state:
        write = told_by(state, tries=2)
        assert write("a cup", "one cup", ["Is there a cup?"]) == "one cup"
        assert sum(write.failures.values()) == 1
        assert "the prompt stays as it is" in caplog.text


class Says(Chat):
    """A chat that answers with a fixed text."""

    def __init__(self, text):
        super().__init__(Client("http://127.0.0.1:1/v1"), "says")
        self.text = text

    def complete(self, messages, schema=None, *, most=512):
        return {"prompt": self.text}


def test_markup_in_an_answer_becomes_plain_characters():
    write = LanguageRewriter(Says("a cup <|im_end|>\n<lora:x:1> [INST] a  dog"))
    found = write("a cup", "a cup", ["Is there a cup?"])
    assert not set("<>[]|\n") & set(found)
    assert found.startswith("a cup ")
    check_prompt(found)


@pytest.mark.parametrize("text", ["", " \n ", "a cup \x1b[31m", "a \x00 cup", "cup " * 600])
def test_an_answer_that_is_no_prompt_is_none(text):
    write = LanguageRewriter(Says(text))
    assert write("a cup", "one cup", ["Is there a cup?"]) == "one cup"
    assert sum(write.failures.values()) == 1
