from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.vlm.messages import quoted
from verifiers.vlm.strict import Unparsed, choice, example, obj, parse

SCHEMA = obj(
    id=choice("7f"),
    score={"type": "number", "minimum": 0, "maximum": 10},
    count={"type": "integer", "minimum": -3, "maximum": 3},
    facts={"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 2},
)
GOOD = {"id": "7f", "score": 7.5, "count": -3, "facts": ["a", "b"]}
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [TEXT, f" \n{TEXT}\n", f"```json\n{TEXT}\n```", f"```{TEXT}```", f"<think>7 {{}} 8</think>\n{TEXT}",
     json.dumps({**GOOD, "score": 0}), json.dumps({**GOOD, "score": 10}), json.dumps(dict(reversed(GOOD.items())))],
)  # fmt: skip
def test_valid_answers(text):
    assert parse(text, SCHEMA).keys() == GOOD.keys()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": "7"}, "'score' is no number"), ({"score": True}, "no number"), ({"score": None}, "no number"),
        ({"score": 10.01}, "'score' is out of range"), ({"score": -1}, "out of range"), ({"count": 1.0}, "no integer"),
        ({"count": 4}, "out of range"), ({"id": "7g"}, "'id' is none of the allowed"), ({"id": 7}, "'id' is no text"),
        ({"facts": []}, "no list"), ({"facts": ["a"] * 3}, "no list"), ({"facts": ["a", 1]}, "an item of 'facts'"),
        ({"facts": ["abcdef"]}, "no text of the right length"), ({"more": 1}, "keys that nobody asked for"),
    ],
)  # fmt: skip
def test_other_values_are_refused_with_the_rule(change, reason):
    with pytest.raises(Unparsed, match=reason):
        parse(json.dumps({**GOOD, **change}), SCHEMA)


@pytest.mark.parametrize(
    "text",
    ["", "7.5", "[]", "null", "yes", TEXT + TEXT, TEXT + " 7", f"Sure! {TEXT}", TEXT[:-1], f"<think>{TEXT}",
     TEXT.replace("7.5", "NaN"), TEXT.replace("7.5", "Infinity"), TEXT.replace("7.5", "1e999"),
     TEXT.replace("7.5", "9" * 5000), TEXT.replace('"score"', '"id": "7f", "score"'), "[" * 100000, "{}"],
)  # fmt: skip
def test_anything_else_is_no_answer(text):
    with pytest.raises(Unparsed):
        parse(text, SCHEMA)


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_unparsed(text):
    with pytest.raises(Unparsed):
        parse(text, SCHEMA)


@given(st.text())
def test_quoted_text_is_one_json_string_without_markup(text):
    line = quoted(text)
    assert len(line.splitlines()) == 1
    assert line.isascii() or line.encode()
    assert isinstance(json.loads(line), str)
    assert not set(line) & set("<>[]|＜＞［］｜")


def test_an_example_names_every_field_and_its_range():
    assert example(SCHEMA) == (
        '{"id": "7f", "score": <number from 0 to 10>, "count": <integer from -3 to 3>, "facts": ["...", ...]}'
    )
    assert example(obj(answer=choice("yes", "no"))) == '{"answer": "yes" or "no"}'
