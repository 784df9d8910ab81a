from __future__ import annotations

import numpy as np
import pytest

from gensearch.shapes import world


def test_parse_gives_back_every_benchmark_line():
    lines = world.benchmark(10_000)
    assert {line["tag"] for line in lines} == set(world.TAGS)
    assert [world.parse(line["prompt"]) for line in lines] == lines


@pytest.mark.parametrize("tag", world.TRAIN_MIX)
def test_parse_gives_back_every_training_line(tag):
    rng = np.random.default_rng(5)
    lines = [world.sample(rng, tag)[0] for _ in range(100)]
    assert [world.parse(line["prompt"]) for line in lines] == lines


def test_what_parse_returns_is_the_callers_own():
    world.parse("a photo of two stars")["include"].clear()
    assert world.parse("a photo of two stars")["include"] == [{"class": "star", "count": 2}]


@pytest.mark.parametrize(
    ("prompt", "example"),
    [
        ("a photo of two red star", "a photo of two red stars"),
        ("a photo of an red heart", "a photo of a red heart"),
        ("A photo of a ring", "a photo of a ring"),
        ("a photo of a circle leftof a star", "a photo of a circle left of a star"),
        ("a photo of five circles", "a photo of"),
        ("a photo of a star and a star", "a photo of a star"),
        ("", "a photo of"),
    ],
)
def test_other_prompts_are_refused_with_the_nearest_example(prompt, example):
    with pytest.raises(ValueError, match=example) as error:
        world.parse(prompt)
    assert repr(prompt) in str(error.value)
