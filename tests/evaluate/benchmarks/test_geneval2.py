"""Soft-TIFA against sums by hand; the data is made up in the schema of the original."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensearch.evaluate.benchmarks.geneval2 import (
    GenEval2,
    arithmetic,
    geometric,
    lines,
    load,
    pictures,
    spellings,
    summary,
)

ROWS: list[dict[str, Any]] = [
    {
        "prompt": "two green mugs",
        "atom_count": 3,
        "vqa_list": [["How many mugs are in the image?", "two"], ["Are the mugs green?", "Yes"]],
        "skills": ["count", "attribute"],
    },
    {
        "prompt": "a goat leaping over a fence",
        "atom_count": 4,
        "vqa_list": [["Is there a goat?", "Yes"], ["Is there a fence?", "Yes"], ["Does it leap?", "Yes"]],
        "skills": ["object", "object", "verb"],
    },
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return file


def test_means():
    assert arithmetic([1, 0.25]) == 0.625
    assert geometric([1, 0.25]) == pytest.approx(0.5)
    assert geometric([0.9, 0, 0.9]) == 0
    assert math.isnan(geometric([0.9, math.nan]))
    assert math.isnan(geometric([0.0, math.nan]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_geometric_mean_is_at_most_the_arithmetic_one(chances):
    low, high = geometric(chances), arithmetic(chances)
    assert 0 <= low <= high + 1e-9
    assert low == pytest.approx(math.prod(chances) ** (1 / len(chances)), abs=1e-6) or math.prod(chances) == 0
    assert geometric(chances[::-1]) == pytest.approx(low)


def test_spellings():
    assert set(spellings("How many cows are there?", "three")) == {"three", "Three", "3", " three", " Three", " 3"}
    assert len(spellings("How many cows are there?", "three")) == 6
    assert set(spellings("Are the cows red?", "Yes")) == {"yes", "Yes", " yes", " Yes"}
    assert set(spellings("Is it?", "No")) == {"no", "No", " no", " No"}


class Known:
    """A model whose chances are known."""

    name = "known"

    def __init__(self, *rows):
        self.rows, self.asked, self.distinct = rows, [], None

    def chances(self, media, asked, distinct):
        self.asked, self.distinct = asked, distinct
        return [torch.tensor(row) for row in self.rows]


def test_pictures_are_scored(path):
    model = Known([1.0, 0.25], [0.5, 0.5, math.nan], [0.8, 0.0, 0.4])
    prompts = [ROWS[0]["prompt"], ROWS[1]["prompt"], ROWS[1]["prompt"]]
    scores = GenEval2(lambda: model, load(path))(torch.zeros(3, 3, 8, 8), prompts)
    assert scores.total[[0, 2]].tolist() == pytest.approx([0.5, 0])
    assert scores.total[1].isnan()
    assert scores.parts["am"][[0, 2]].tolist() == pytest.approx([0.625, 0.4])
    assert scores.parts["q2"].tolist() == pytest.approx([0.25, 0.5, 0.0])
    assert scores.parts["q3"][0].isnan()
    assert model.asked[0][0][0] == "How many mugs are in the image? Answer in one word."
    assert model.distinct is False
    GenEval2(lambda: model, load(path), upstream=False)(torch.zeros(3, 3, 8, 8), prompts)
    assert model.distinct is True
    with pytest.raises(ValueError, match="has no prompt 'a cow'"):
        GenEval2(lambda: model, load(path))(torch.zeros(1, 3, 8, 8), ["a cow"])


def test_the_summary_by_atomicity_and_skill(path):
    records = [
        {"text": ROWS[0]["prompt"], "judge": 0.5, "parts": {"am": 0.625, "q1": 1.0, "q2": 0.25, "q3": None}},
        {"text": ROWS[1]["prompt"], "judge": 0.2, "parts": {"am": 0.3, "q1": 0.2, "q2": 0.4, "q3": 0.3}},
        {"text": ROWS[1]["prompt"], "judge": None, "parts": {"am": None}},
    ]
    assert summary(path, records) == pytest.approx(
        {
            "gm": 35,
            "am": 46.25,
            "gm, atoms 3": 50,
            "gm, atoms 4": 20,
            "am, attribute": 25,
            "am, count": 100,
            "am, object": 30,
            "am, verb": 30,
            "unscored": 1,
        }
    )


def test_lines_and_pictures(path):
    assert lines(path, 5) == [
        {"tag": "atoms 3", "prompt": ROWS[0]["prompt"]},
        {"tag": "atoms 4", "prompt": ROWS[1]["prompt"]},
    ]
    file = path.parent / "images.json"
    file.write_text(json.dumps({row["prompt"]: f"{k}.png" for k, row in enumerate(ROWS)}))
    assert pictures(path, file)[ROWS[1]["prompt"]] == path.parent / "1.png"
    file.write_text(json.dumps({ROWS[0]["prompt"]: "0.png"}))
    with pytest.raises(ValueError, match="differ in 1 prompts, the first is 'a goat"):
        pictures(path, file)


def test_damaged_data_names_its_line(path):
    with pytest.raises(ValueError, match=r"there is no file .*; download geneval2_data.jsonl from https://github.com"):
        load(path.parent / "none.jsonl")
    for broken in (
        '{"prompt": 3}',
        "{",
        json.dumps(ROWS[0] | {"skills": ["count"]}),
        json.dumps(ROWS[0] | {"vqa_list": []}),
    ):
        path.write_text(json.dumps(ROWS[1]) + "\n" + broken)
        with pytest.raises(ValueError, match="line 2: "):
            load(path)
