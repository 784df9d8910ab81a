"""Labelled pairs: the CSV is read strictly, and accuracy, ties and flips are counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gensearch.evaluate.pairs import check_pairs, read_pairs
from verifiers.types import Scores

HEAD = "prompt,image_a,image_b,preferred\n"


class Light:
    """How light a picture is; NaN for black ones."""

    name, differentiable = "light", False

    def __call__(self, media, prompts, *, progress=1.0):
        total = media.flatten(1).mean(1)
        return Scores(total.masked_fill(total == 0, torch.nan))


class First(Light):
    """Prefers whatever comes first."""

    def compare(self, a, b, prompts):
        return torch.full((len(a),), 0.9)


@pytest.fixture
def folder(tmp_path):
    for name, level, size in (("black", 0, 8), ("dark", 60, 8), ("light", 200, 11), ("same", 200, 11)):
        Image.fromarray(np.full((size, size + 2, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def listed(folder, *rows):
    path = folder / "pairs.csv"
    path.write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return path


def test_right_wrong_equal_and_unscored_pairs(folder):
    rows = ["p,dark.png,light.png,b", "p,dark.png,light.png,A", "q,light.png,same.png,a", "r,light.png,dark.png,a"]
    path = listed(folder, *rows, "r,dark.png,light.png,tie", "r,black.png,dark.png,b")
    said: list[str] = []
    found = check_pairs(Light(), read_pairs(path), "mine", said.append)
    assert found["accuracy"]["mean"] == pytest.approx(np.mean([0.5, 0.5, 1]))  # by prompt
    assert found["accuracy"]["low"] < found["accuracy"]["mean"] < found["accuracy"]["high"]
    assert (found["pairs"], found["prompts"], found["on"], found["flips"]) == (6, 3, "mine", None)
    assert found["ties"] == pytest.approx(1 / 5)
    assert found["ties_in_labels"] == found["unscored"] == pytest.approx(1 / 6)
    assert said == ["6 of 6 pairs"]


def test_a_verifier_that_compares_is_asked_in_both_orders(folder):
    pairs = read_pairs(listed(folder, "p,dark.png,light.png,b", "q,light.png,dark.png,a"))
    found = check_pairs(First(), pairs, "mine", lambda text: None)
    assert (found["flips"], found["accuracy"]["mean"], found["ties"]) == (1, 0.5, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,image_a,image_b\nx,dark.png,light.png\n", "no column 'preferred'; its first line names prompt"),
        (HEAD, "holds no pairs"),
        (f"{HEAD}p,dark.png,light.png,c\n", "line 2: preferred is 'c'; write a, b or tie"),
        (f"{HEAD}p,dark.png,light.png\n", "line 2: preferred is None; write a, b or tie"),
        (f"{HEAD}p,dark.png,gone.png,a\n", "line 2: there is no picture .*gone.png; write paths relative"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(folder, text, message):
    path = folder / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_pairs(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_or_no_picture_are_refused(folder):
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        read_pairs(folder / "gone.csv")
    (folder / "text.png").write_text("x")
    with pytest.raises(ValueError, match="text.png is no picture that can be read"):
        check_pairs(Light(), read_pairs(listed(folder, "p,text.png,dark.png,a")), "mine", lambda text: None)
