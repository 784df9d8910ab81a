"""Yes-or-no questions about pictures of the Shapes world, answered by the exact detector."""

from __future__ import annotations

import re

import torch

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import pixels
from verifiers.detect.geneval import evaluate
from verifiers.vlm.decompose import Decomposed

SURE = 0.95  # P(yes) of a fact that holds


def line_of(question):
    """The metadata line that holds if and only if the answer is yes."""
    text = question.lower().rstrip("?")
    numbers = {word: number for number, word in world.NUMBERS.items()}
    if found := re.fullmatch(r"is there an? (\w+)", text):
        return world.spec("single_object", [world.clause(found[1])])
    if found := re.fullmatch(r"are there exactly (\w+) (\w+?)(es|s)", text):
        return world.spec("counting", [world.clause(found[2], count=numbers[found[1]])])
    if found := re.fullmatch(r"is the (\w+) (\w+)", text):
        return world.spec("colors", [world.clause(found[1], found[2])])
    found = re.fullmatch(r"is the (\w+) (.+) the (\w+)", text)
    assert found, f"{question!r} is no question about the Shapes world"
    return world.spec("position", [world.clause(found[3]), world.clause(found[1], position=(found[2], 0))])


class ExactAnswers:
    """Answers with `SURE` or 1 - `SURE`; NaN for pictures that are not finite."""

    name, differentiable = "exact answers", False

    def __init__(self):
        self.detector = ShapesDetector()
        self.seen = []  # the questions of each call

    def answer(self, media, questions):
        self.seen.append(list(questions))
        found = []
        for picture, asked in zip(media, questions, strict=True):
            if not picture.isfinite().all():
                found.append(torch.full((len(asked),), torch.nan))
                continue
            yes = [evaluate(pixels(picture), line_of(question), self.detector).correct for question in asked]
            found.append(torch.tensor([SURE if fact else 1 - SURE for fact in yes]).log())
        return found


def exact_questions(**options):
    """The product of the exact answers to the questions of a prompt."""
    return Decomposed(ExactAnswers(), **options)
