"""The embedded critic: a small image-text model that answers yes-or-no questions about pictures of the Shapes world."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate, log_softmax, logsigmoid

from gensearch.shapes import world
from gensearch.shapes.reader import COUNTS, Reader, Reading
from verifiers.batches import physical_batches
from verifiers.types import Device, Media

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHAPE = {word: i for i, shape in enumerate(world.SHAPES) for word in (shape, world.plural(shape))}
COLOR = {color: i for i, color in enumerate(world.COLORS)}
NUMBER = {"one": 1} | {word: number for number, word in world.NUMBERS.items()}
RELATION = {relation: i for i, relation in enumerate(world.RELATIONS)}

Answer = Callable[[Reading], Tensor]  # the logarithm of P(yes) [b]


class Critic:
    """Answers such as P(yes) to "Is the star left of the ring?", read off one pass over each picture.

    The network reads for every shape how many there are, in which colour and where; its heads are shared by all
    shapes, so that combinations which it never saw are answered as well. Differentiable with respect to pixels.
    Pictures go through it in physical batches (`verifiers.batches`). A picture with a non-finite pixel is unanswered.

    Args:
        model: reads pictures of 64x64; it is frozen and set to eval mode.
        name: in logs and reports.
        batch_size: most pictures in one physical batch, 1 or more.
    """

    differentiable = True

    def __init__(self, model: Reader, *, name: str = "shapes/critic", batch_size: int = 32) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.batch_size = batch_size
        self.device = next(model.parameters()).device

    @classmethod
    def load(cls, folder: Path, *, name: str = "shapes/critic", device: Device = "cpu", batch_size: int = 32) -> Critic:
        """Load a critic's folder, which holds config.json and model.safetensors.

        Args:
            folder: where it is.
            name: in logs and reports.
            device: where the network runs.
            batch_size: most pictures in one physical batch, 1 or more.

        Raises:
            ValueError: for files that are missing, damaged, or do not belong together.
        """
        from safetensors.torch import load_file

        try:
            model = Reader(**json.loads((folder / CONFIG).read_text()))
            model.load_state_dict(load_file(folder / WEIGHTS))  # copied into fp32
        except Exception as error:  # damaged files make the libraries raise errors of many kinds
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ValueError(f"cannot load the critic {folder} ({why}); copy or train it again") from error
        model = model.to(device).to(memory_format=torch.channels_last)  # twice as fast on CPUs
        return cls(model, name=name, batch_size=batch_size)

    def answer(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes), one tensor [q] for each picture; NaN for a picture that is not finite.

        Args:
            media: pictures [b, 3, h, w] in [0, 1], squeezed to 64x64.
            questions: of each picture, b sequences of one or more.

        Raises:
            ValueError: for a question that is not of the forms in `understand`.
        """
        asked = {question: understand(question) for row in questions for question in row}
        finite = media.sum((1, 2, 3), dtype=torch.float32).isfinite()
        clean = torch.where(finite[:, None, None, None], media, 0)
        read = [self.read(clean[rows]) for rows in physical_batches(len(media), self.batch_size)]
        reading = Reading(*(torch.cat(columns)[: len(media)] for columns in zip(*read, strict=True)))
        unread = ~finite.to(self.device)
        logs = {question: answer(reading).masked_fill(unread, torch.nan) for question, answer in asked.items()}
        return [torch.stack([logs[question][row] for question in own]) for row, own in enumerate(questions)]

    def read(self, images: Tensor) -> Reading:
        """Return what the network reads in one physical batch.

        Args:
            images: pictures [n, 3, h, w] in [0, 1].
        """
        pixels = images.to(self.device, torch.float32)
        if pixels.shape[-2:] != (world.SIZE, world.SIZE):
            size = (world.SIZE, world.SIZE)
            pixels = interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)
        return cast(Reading, self.model(pixels.contiguous(memory_format=torch.channels_last)))


# --- questions in words


@lru_cache(4096)
def understand(question: str) -> Answer:
    """Return what reads the logarithm of P(yes) to a question off a reading.

    Questions are "Is there a star?", "Is there a red star?", "Are there exactly three stars?", "Are there exactly three
    red stars?", "Is the star red?", "Are all the stars red?" and "Is the star left of the ring?".

    Args:
        question: in any case, with or without the question mark.

    Raises:
        ValueError: for any other question.
    """
    text = " ".join(question.lower().split()).rstrip("?").rstrip()
    for form, answer in FORMS.items():
        if found := re.fullmatch(form, text):
            return answer(*found.groups())
    raise ValueError(
        f"the embedded critic cannot read the question {question!r}; ask as in 'Is there a star?', 'Are there exactly "
        "three stars?', 'Is the star red?', 'Are all the stars red?' or 'Is the star left of the ring?'"
    )


def is_there(color: str | None, shape: str) -> Answer:
    """The clearest object of a shape exists, and has the colour if there is one."""
    i = SHAPE[shape]

    def answer(reading: Reading) -> Tensor:
        there = log_softmax(reading.some[:, i], -1)[:, 1:].logsumexp(-1)
        return there + chosen(reading.color[:, i], COLOR[color]) if color else there

    return answer


def are_there(number: str, color: str | None, shape: str) -> Answer:
    """So many clear objects of a shape exist and no more, all of the colour if there is one."""
    i, count = SHAPE[shape], NUMBER[number]

    def answer(reading: Reading) -> Tensor:
        there = chosen(reading.sure[:, i], count)
        return there + chosen(reading.every[:, i], COLOR[color]) if color else there

    return answer


def has_color(shape: str, color: str) -> Answer:
    """The clearest object of a shape has a colour."""
    return lambda reading: chosen(reading.color[:, SHAPE[shape]], COLOR[color])


def all_have_color(shape: str, color: str) -> Answer:
    """All objects of a shape have a colour."""
    return lambda reading: chosen(reading.every[:, SHAPE[shape]], COLOR[color])


def is_placed(shape: str, relation: str, other: str) -> Answer:
    """The clearest objects of two shapes are in a relation."""
    return lambda reading: logsigmoid(reading.relation[:, SHAPE[shape], SHAPE[other], RELATION[relation]])


def chosen(logits: Tensor, index: int) -> Tensor:
    """Return the log-probability of one class, [b], from logits [b, classes]."""
    return log_softmax(logits, -1)[:, index]


def _any(words: Sequence[str]) -> str:
    return f"({'|'.join(words)})"


_SHAPE, _COLOR = _any(sorted(SHAPE, key=len, reverse=True)), _any(list(COLOR))
FORMS: dict[str, Callable[..., Answer]] = {
    rf"is there an? (?:{_COLOR} )?{_SHAPE}": is_there,
    rf"are there exactly {_any(list(NUMBER))} (?:{_COLOR} )?{_SHAPE}": are_there,
    rf"is the {_SHAPE} {_COLOR}": has_color,
    rf"are all the {_SHAPE} {_COLOR}": all_have_color,
    rf"is the {_SHAPE} {_any(list(RELATION))} the {_SHAPE}": is_placed,
}
assert max(NUMBER.values()) < COUNTS
