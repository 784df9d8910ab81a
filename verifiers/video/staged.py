"""One verifier for each stage of a clip, and the questions of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from verifiers.adapt import as_verifier, ask
from verifiers.card import Card
from verifiers.types import Media, Scores, Verifier
from verifiers.video.per_frame import PerFrame
from verifiers.vlm.decompose import Answerer, Decomposed

CARD = Card(
    checkpoint="that of the picture verifier",
    licence="that of the picture verifier",
    input="pictures and clips",
    range="that of the picture verifier; 0 or less where questions are answered",
    price="1 frame of a clip in progress, 3 of a finished one",
)
START = (
    'Does the picture fit the beginning of "{prompt}"?',
    "Are all objects in the picture complete and well formed?",
    "Is the picture sharp and clean?",
)
MIDDLE = (
    'Could the picture come from the middle of "{prompt}"?',
    "Have all objects in the picture kept their shape?",
    "Is the picture free of motion artifacts?",
)
END = (
    'Does the picture show "{prompt}"?',
    "Is what the picture shows physically possible?",
    "Is the picture of high quality?",
)


class Staged:
    """One verifier for the first chunk of a clip, one for the chunks in between, one for the finished clip.

    The stages of Video-T1 (Liu et al. 2025, arXiv:2503.18942). Pictures and clips are passed on as they are.

    Args:
        start: scores the first chunk: `progress` up to `first`.
        middle: scores `progress` between `first` and 1.
        end: scores finished clips: `progress` 1.
        first: where the first chunk ends, as a share of the clip in (0, 1).
        name: the verifier's name in logs and reports.

    Raises:
        ValueError: for `first` out of range.
    """

    def __init__(
        self, start: Verifier, middle: Verifier, end: Verifier, *, first: float = 0.2, name: str = "staged"
    ) -> None:
        if not 0 < first < 1:
            raise ValueError(f"the first chunk cannot end at {first} of a clip; give a share between 0 and 1")
        self.judges, self.first, self.name = tuple(map(as_verifier, (start, middle, end))), first, name
        self.differentiable = all(verifier.differentiable for verifier in self.judges)
        sizes = {getattr(verifier, "batch_size", None) for verifier in self.judges}
        self.batch_size = sizes.pop() if len(sizes) == 1 else None

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score media by the verifier of this stage.

        Args:
            media: pictures [b, 3, h, w] or clips [b, t, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: share of the clip that is generated, in (0, 1]; selects the stage.
        """
        verifier = self.judges[2 if progress >= 1 else 0 if progress <= self.first else 1]
        scores = ask(verifier, media, prompts, progress=progress)
        return Scores(scores.total, {self.name: scores.total.detach()})


def staged(judge: Verifier | Answerer, *, first: float = 0.2, name: str = "") -> Staged:
    """Score the first frame of the first chunk, then the newest frame, and of a finished clip three frames.

    A model that answers questions is asked those of the stage, and the score is the mean logarithm of P(yes). A picture
    verifier scores the same frames with the prompt. The three frames are the first, the middle and the last one.

    Args:
        judge: a picture verifier, or a model that answers yes-or-no questions about pictures.
        first: where the first chunk ends, as a share of the clip in (0, 1).
        name: the verifier's name; "staged:" with that of `judge` if empty.

    Raises:
        ValueError: for `first` out of range.
    """
    start, middle, end = (stage(judge, questions) for questions in (START, MIDDLE, END))
    frames = (PerFrame(start, "first"), PerFrame(middle, "last"), PerFrame(end, "spread"))
    return Staged(*frames, first=first, name=name or f"staged:{judge.name}")


def stage(judge: Verifier | Answerer, questions: Sequence[str]) -> Verifier:
    """Return what scores the frames of one stage: a picture verifier as it is, a model with its answers to questions.

    Args:
        judge: a picture verifier, or a model that answers yes-or-no questions about pictures.
        questions: of the stage, with {prompt} where the prompt belongs.
    """
    if hasattr(judge, "answer"):
        return Decomposed(cast(Answerer, judge), split=partial(about, questions), combine="geometric")
    return judge


def about(questions: Sequence[str], prompt: str) -> tuple[str, ...]:
    """Return questions about a prompt.

    Args:
        questions: with {prompt} where the prompt belongs, in any of them.
        prompt: the prompt.
    """
    return tuple(question.replace("{prompt}", prompt) for question in questions)
