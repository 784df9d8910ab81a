"""DPG-Bench: the rule of dependencies, the loader and categories; the data is made up in the schema of the original."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensearch.evaluate.benchmarks.dpg import DPG, lines, load, score, summary, tile, untile

HEADER = ("item_id", "text", "keywords", "proposition_id", "dependency", "tuple", "question_natural_language")
ROWS = [
    ("a1", "a barn by a lake", "", 1, "0", "entity - whole (barn)", "Is there a barn?"),
    ("a1", "a barn by a lake", "", 2, "0", "entity - whole (lake)", "Is there a lake?"),
    ("a1", "a barn by a lake", "", 3, "1,2", "relation - spatial (barn, lake)", "Is the barn by the lake?"),
    ("b2", "an owl with one eye", "", 1, "0", "entity - whole (owl)", "Is there an owl?"),
    ("b2", "an owl with one eye", "", 2, "1", "entity - part (eye)", "Does the owl have an eye?"),
    ("b2", "an owl with one eye", "", 3, "2", "other - count (eye, 1)", "Is there one eye?"),
]


def write(path, rows=ROWS):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "dpg.csv")


@pytest.mark.parametrize(
    ("answers", "parents", "wanted"),
    [
        ((1, 1, 1), ((0,), (0,), (1, 2)), 1),
        ((0, 1, 1), ((0,), (0,), (1, 2)), 1 / 3),
        ((1, 0, 1), ((0,), (0,), (1, 2)), 1 / 3),
        ((0, 1, 1), ((0,), (1,), (2,)), 0),  # no goes on from child to child
        ((1, 1, 0), ((0,), (1,), (2,)), 2 / 3),
        ((1, 1, 0), ((3,), (1,), (0,)), 0),  # in the order of the file, also where a parent comes later
    ],
)
def test_children_of_a_no_count_as_no(answers, parents, wanted):
    assert score(dict(enumerate(answers, 1)), dict(enumerate(parents, 1))) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=7))
def test_the_rule_equals_looking_up_all_ancestors(drawn):
    answers = {n: float(yes) for n, (yes, _) in enumerate(drawn, 1)}
    parents = {n: (min(parent, n - 1),) for n, (_, parent) in enumerate(drawn, 1)}

    def holds(n):
        return n == 0 or (answers[n] == 1 and holds(parents[n][0]))

    assert score(answers, parents) == pytest.approx(sum(holds(n) for n in answers) / len(answers))


def test_an_unanswered_question_leaves_a_picture_unscored():
    assert math.isnan(score({1: 1.0, 2: math.nan}, {1: (0,), 2: (0,)}))
    assert math.isnan(score({1: 0.0, 2: math.nan}, {1: (0,), 2: (1,)}))


def test_the_first_row_is_lost_upstream_with_what_depends_on_it(path):
    assert [item.name for item in load(path, upstream=True)] == ["b2"]
    full = load(path, upstream=False)
    assert [item.name for item in full] == ["a1", "b2"]
    assert full[0].parents == {1: (0,), 2: (0,), 3: (1, 2)}
    assert full[1].categories == {1: "entity - whole", 2: "entity - part", 3: "other - count"}
    write(path, [*ROWS[:2], *ROWS[3:]])
    shorter = load(path, upstream=True)
    assert [list(item.questions) for item in shorter] == [[2], [1, 2, 3]]
    assert [line["file"] for line in lines(path, False, 9)] == ["a1.png", "b2.png"]


def test_damaged_data_names_its_line(path):
    with pytest.raises(ValueError, match=r"there is no file .*; download dpg_bench.csv from https://github.com"):
        load(path.parent / "none.csv")
    write(path, [*ROWS, ("b2", "x", "", "four", "0", "entity - whole (x)", "Is it?")])
    with pytest.raises(ValueError, match="line 8: ValueError"):
        load(path)
    write(path, [ROWS[3], ROWS[5]])
    with pytest.raises(ValueError, match="b2 depends on question 2, which it has not"):
        load(path)


class Known:
    """Answers questions from a table of P(yes)."""

    name, differentiable = "known", False

    def __init__(self, *rows):
        self.rows = rows

    def answer(self, media, questions):
        assert [len(row) for row in self.rows] == [len(own) for own in questions]
        return [torch.tensor(row).log() for row in self.rows]


def test_pictures_are_scored_by_their_questions(path):
    judge = DPG(lambda: Known([0.9, 0.2, 0.8], [0.51, 0.6, 0.4], [0.9, math.nan, 0.9]), load(path, upstream=False))
    owl = "an owl with one eye"
    scores = judge(torch.zeros(3, 3, 8, 8), [owl, "a barn by a lake", owl])
    assert scores.total[:2].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert scores.total[2].isnan()
    assert scores.parts["3"].tolist() == [1, 0, 1]  # before the rule
    with pytest.raises(ValueError, match="has no prompt 'a cow'"):
        judge(torch.zeros(1, 3, 8, 8), ["a cow"])


def test_categories_are_of_the_last_picture_upstream_and_of_all_mended(path):
    owl = "an owl with one eye"

    def record(seed, judge, *answers):
        return {"text": owl, "seed": seed, "judge": judge, "parts": {str(n): a for n, a in enumerate(answers, 1)}}

    records = [record(1, 1 / 3, 1.0, 0.0, 1.0), record(0, 1.0, 1.0, 1.0, 1.0), record(2, None, 1.0, None, 1.0)]
    upstream = summary(path, True, records)
    assert upstream == pytest.approx(
        {"dpg": 200 / 3, "entity": 50, "other": 100, "entity - part": 0, "entity - whole": 100, "other - count": 100}
        | {"unscored": 1}
    )
    assert summary(path, False, records)["entity"] == pytest.approx(75)
    assert summary(path, False, records)["dpg"] == pytest.approx(200 / 3)


def test_four_pictures_are_one_file_row_by_row():
    pictures = [np.full((4, 6, 3), n, np.uint8) for n in range(4)]
    tiled = tile(pictures)
    assert tiled[:, :, 0].tolist() == [[0] * 6 + [1] * 6] * 4 + [[2] * 6 + [3] * 6] * 4
    assert all(np.array_equal(a, b) for a, b in zip(untile(tiled), pictures, strict=True))
    with pytest.raises(ValueError, match="four pictures of one size, not 3"):
        tile(pictures[:3])
    with pytest.raises(ValueError, match="5 x 4 pixels is no 2 x 2 grid"):
        untile(np.zeros((4, 5, 3), np.uint8))
