"""Questions and frames by the stage of a clip, and the names of verifiers of frames."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gensearch import registry
from gensearch.config.run import RunConfig
from gensearch.core.noise import randn
from gensearch.testing import VerifierLaws
from verifiers.combine import judges, overlap
from verifiers.controls.redness import Redness
from verifiers.names import leaf_names, picture_verifier, split_length
from verifiers.video.grid import Grid
from verifiers.video.staged import END, MIDDLE, START, Staged, staged
from verifiers.vlm.decompose import Decomposed

CLIPS = randn(range(3), (5, 3, 8, 8)).mul(0.2).add(0.5).clamp(0.01, 0.99)
PROMPTS = ["a red star", "a blue ring", "a {prompt} cross"]


class Answers:
    """A model whose P(yes) depends on every pixel and on every letter of the question."""

    name, differentiable = "answers", False

    def __init__(self):
        self.asked = []

    def answer(self, media, questions):
        self.asked += [tuple(row) for row in questions]
        return [
            torch.stack([self.log_yes(picture, text) for text in row])
            for picture, row in zip(media, questions, strict=True)
        ]

    def log_yes(self, picture, text):
        bias = picture[0, 0, 0] + picture.sum() * 0  # NaN for pixels that are not finite
        return torch.nn.functional.logsigmoid(picture.mean() * sum(map(ord, text)) / 1000 + bias)


class TestAnswers(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return staged(Answers())


class TestPictureVerifier(VerifierLaws):
    @pytest.fixture
    def verifier(self):
        return staged(Redness())


@pytest.mark.parametrize(
    ("progress", "questions", "frames"), [(0.2, START, [0]), (0.5, MIDDLE, [4]), (1.0, END, [0, 2, 4])]
)
def test_each_stage_has_its_frames_and_questions(progress, questions, frames):
    model = Answers()
    total = staged(model)(CLIPS, PROMPTS, progress=progress).total
    asked = [[question.replace("{prompt}", prompt) for question in questions] for prompt in PROMPTS]
    for row in range(3):
        logs = [model.log_yes(CLIPS[row, frame], text).item() for frame in frames for text in asked[row]]
        assert total[row].item() == pytest.approx(math.fsum(logs) / len(logs), rel=1e-5)
    assert model.asked == [tuple(asked[row]) for row in range(3) for _ in frames]
    pictures = staged(Redness())(CLIPS, PROMPTS, progress=progress).total
    expected = [Redness()(clip[frames], PROMPTS[:1] * len(frames)).total.mean().item() for clip in CLIPS]
    assert pictures.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("length", [1, 2])
def test_frames_of_short_clips_count_once(length):
    model = Answers()
    staged(model)(CLIPS[:1, :length], PROMPTS[:1])
    assert len(model.asked) == length


def test_prompts_are_asked_as_they_are():
    model = Answers()
    staged(model)(CLIPS[2:], PROMPTS[2:], progress=0.1)
    assert 'Does the picture fit the beginning of "a {prompt} cross"?' in model.asked[0]


def test_names_of_verifiers_of_frames():
    assert split_length("clip:ViT-B-32@laion2b@16") == ("clip:ViT-B-32@laion2b", 16)
    assert split_length("clip:ViT-B-32@laion2b") == ("clip:ViT-B-32@laion2b", None)
    assert picture_verifier("grid:frames:shapes/clip@16") == "shapes/clip"
    assert picture_verifier("clip:frames:a") == "clip:frames:a"
    assert leaf_names("grid:shapes/clip@16+0.5*staged:random+motion") == {"shapes/clip", "random", "motion"}


def test_verifiers_of_frames_by_name():
    grid, spread = registry.verifier("grid:redness@5"), registry.verifier("grid:redness")
    assert torch.equal(grid(CLIPS, PROMPTS).total, Grid(Redness(), 5)(CLIPS, PROMPTS).total)
    assert torch.equal(spread(CLIPS, PROMPTS).total, Grid(Redness())(CLIPS, PROMPTS).total)
    assert torch.equal(grid(CLIPS, PROMPTS).total, spread(CLIPS, PROMPTS).total)
    by_stage = registry.verifier("staged:redness")
    assert isinstance(by_stage, Staged)
    assert by_stage.name == "staged:redness"
    assert torch.equal(by_stage(CLIPS, PROMPTS).total, staged(Redness())(CLIPS, PROMPTS).total)
    for name, said in (
        ("grid:redness@3", "3 frames do not fill 2 x 2"),
        ("grid:rednes@4", "no verifier is called 'rednes'"),
        ("staged:rednes", "no verifier is called 'rednes'"),
    ):
        with pytest.raises(ValueError, match=said):
            registry.verifier(name)


def test_a_model_that_answers_questions_is_found_behind_its_name(monkeypatch):
    from verifiers.catalogue import VERIFIERS, Entry

    build: Any = Answers
    monkeypatch.setitem(VERIFIERS, "answers", Entry(build, "answers questions"))
    assert any(isinstance(inner, Decomposed) for inner in judges(registry.verifier("staged:answers")))


@pytest.mark.parametrize(
    "guide", ["grid:shapes/clip", "grid:shapes/clip@16", "staged:shapes/clip", "frames:shapes/clip"]
)
def test_a_verifier_of_frames_counts_as_the_verifier_of_pictures(guide):
    with pytest.raises(ValueError, match="also guides or selects"):
        RunConfig(prompt="a star", verifier=guide, holdout=["shapes/clip"])
    assert overlap(registry.verifier(guide), registry.verifier("shapes/clip"))
