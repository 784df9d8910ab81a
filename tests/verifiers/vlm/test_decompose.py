"""A prompt as questions, and the verifier that combines the answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import gensearch.shapes
from gensearch.shapes import world
from gensearch.testing import VerifierLaws
from verifiers.vlm.decompose import Decomposed, decompose

QUESTIONS = {
    "a photo of a bench": ["Is there a bench?"],
    "a photo of an apple": ["Is there an apple?"],
    "a photo of an orange": ["Is there an orange?"],
    "a photo of an orange orange": ["Is there an orange?", "Is the orange orange?"],
    "a photo of a red cup": ["Is there a cup?", "Is the cup red?"],
    "a photo of three teddy bears": ["Are there exactly three teddy bears?"],
    "a photo of two red stars": ["Are there exactly two stars?", "Are all the stars red?"],
    "a photo of a bench and a dog": ["Is there a bench?", "Is there a dog?"],
    "a photo of a white dog and a blue potted plant": [
        "Is there a dog?",
        "Is the dog white?",
        "Is there a potted plant?",
        "Is the potted plant blue?",
    ],
    "a photo of a dog right of a teddy bear": [
        "Is there a dog?",
        "Is there a teddy bear?",
        "Is the dog right of the teddy bear?",
    ],
    "A photo of  a red dog to the left of a cup.": [
        "Is there a dog?",
        "Is the dog red?",
        "Is there a cup?",
        "Is the dog left of the cup?",
    ],
    "two blue cups, a dog": None,
    "a cat that sleeps under three stars": None,
    "a photo of three cups left of a dog": None,
    "": None,
    "masterpiece": None,
}


@pytest.mark.parametrize(("prompt", "expected"), QUESTIONS.items())
def test_questions_of_a_prompt(prompt, expected):
    if expected is None:
        with pytest.raises(ValueError, match="no rule splits the prompt"):
            decompose(prompt)
    else:
        assert list(decompose(prompt)) == expected


def test_every_prompt_of_geneval_is_split_into_one_question_for_each_fact():
    path = Path(__file__).parents[3] / "gensearch" / "evaluate" / "prompts" / "evaluation_metadata.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.is_file() else []
    for line in [*lines, *world.lines()]:
        facts = sum(1 + ("color" in c) + ("position" in c) for c in line["include"])
        assert len(decompose(line["prompt"])) == facts, line["prompt"]
    assert Path(gensearch.shapes.__file__).exists()


class Fixed:
    """Answers each question with a fixed probability, times the mean of the picture."""

    name, differentiable = "fixed", True
    batch_size: int

    def __init__(self, chances):
        self.chances = chances

    def answer(self, media, questions):
        bright = media.flatten(1).mean(1).log()
        return [
            torch.stack([torch.tensor(self.chances[q]).log() + bright[row] for q in own])
            for row, own in enumerate(questions)
        ]


CHANCES = {"Is there a cup?": 0.8, "Is the cup red?": 0.5, "Is there a dog?": 0.9}
PICTURES = torch.full((2, 3, 4, 4), 0.5)
PROMPTS = ["a photo of a red cup", "a photo of a dog"]


@pytest.mark.parametrize(
    ("combine", "first", "second"),
    [("product", 0.8 * 0.5 * 0.25, 0.45), ("geometric", math.sqrt(0.8 * 0.5 * 0.25), 0.45)],
)
def test_answers_combine_as_product_or_geometric_mean(combine, first, second):
    scores = Decomposed(Fixed(CHANCES), combine=combine)(PICTURES, PROMPTS)
    torch.testing.assert_close(scores.total.exp(), torch.tensor([first, second]))
    torch.testing.assert_close(scores.parts["Is the cup red?"], torch.tensor([0.25, torch.nan]), equal_nan=True)
    torch.testing.assert_close(scores.parts["Is there a dog?"], torch.tensor([torch.nan, 0.45]), equal_nan=True)


def test_gradients_reach_the_pixels():
    pictures = PICTURES.clone().requires_grad_()
    Decomposed(Fixed(CHANCES))(pictures, PROMPTS).total.sum().backward()
    assert pictures.grad is not None
    assert pictures.grad[0].sum().item() == pytest.approx(2 / 0.5), "d log(x^2) / dx over the mean"


def test_other_ways_to_combine_are_refused():
    with pytest.raises(ValueError, match="combine is 'sum'; it must be 'product' or 'geometric'"):
        Decomposed(Fixed(CHANCES), combine="sum")


def test_it_passes_on_what_the_judge_has_and_nothing_else():
    judge = Fixed(CHANCES)
    judge.batch_size = 7
    assert Decomposed(judge).batch_size == 7
    assert getattr(Decomposed(Fixed(CHANCES)), "batch_size", None) is None
    assert not hasattr(Decomposed(judge), "terms")


class TestDecomposed(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        class Bright(Fixed):
            def answer(self, media, questions):
                bright = torch.stack([row.mean() for row in media])
                bright = torch.where(bright.isfinite(), bright.clamp(1e-6, 1).log(), torch.nan)
                return [bright[row].expand(len(own)) for row, own in enumerate(questions)]

        return Decomposed(Bright({}), name="bright")
