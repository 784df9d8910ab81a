"""RationalRewards: a Qwen3-VL that writes a critique of one picture, or of two, and scores each aspect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from verifiers.batches import require_pictures
from verifiers.card import Card
from verifiers.types import Media, Scores
from verifiers.vlm.local import LocalModel, Written, cleaned

CARD = Card(
    checkpoint="TIGER-Lab/RationalRewards-8B-T2I",
    licence="Apache-2.0",
    input="pictures",
    range="1 to 4; the questions are this project's, which may shift it",
    size="8B parameters",
    price="1 critique of some hundred tokens; the same for each comparison",
)
ASPECTS = ("Text Faithfulness", "Physical and Visual Quality", "Text Rendering")
OPTIONAL = "Text Rendering"  # N/A where the prompt asks for no text
RUBRIC = """
1. Text Faithfulness: 4 everything that the instruction names is there as described, 3 small differences, 2 some parts
missing or wrong, 1 most of it missing or contradicted.
2. Physical and Visual Quality: 4 no flaw to be seen, 3 small flaws, 2 flaws that catch the eye, 1 broken.
3. Text Rendering: 4 all text correct and legible, 3 small mistakes, 2 large mistakes, 1 illegible or missing; N/A if
the instruction asks for no text.
"""
ONE = """You evaluate a generated image.
User Instruction: {prompt}
Score it from 1 to 4 (decimals are allowed) on each of three aspects.
{rubric}
Answer in this format:
# User Request Analysis
[what the instruction asks for]
# Detailed Judgement
{judgement}
# Summary: [summary]"""
TWO = """You compare two generated images. The first is Image A, the second is Image B.
User Instruction: {prompt}
Score each of them from 1 to 4 (decimals are allowed) on each of three aspects, and say which one wins.
{rubric}
Answer in this format:
# User Request Analysis
[what the instruction asks for]
# Detailed Judgement
{judgement}
# Summary: [summary]"""


def asked(question: str, lines: str) -> str:
    """Return a question with rubric and answer format filled in.

    Args:
        question: with {rubric} and {judgement}.
        lines: of the answer format that follow the justification of each aspect.
    """
    sections = [f"{i}. {name}:\n## Justification: [analysis]\n{lines}" for i, name in enumerate(ASPECTS, 1)]
    return question.replace("{rubric}", RUBRIC).replace("{judgement}", "\n".join(sections))


POINTWISE = asked(ONE, "## Score: [number or N/A]")
WINNER = "## Winner: [Image A or Image B or It's a tie]"
PAIRWISE = asked(TWO, f"## Score A: [number or N/A]\n## Score B: [number or N/A]\n{WINNER}")


class RationalRewards(Written):
    """The mean of the scores that a critique gives to the aspects of a picture, in [1, 4].

    RationalRewards, Wang et al. 2026, arXiv:2604.11626. `compare` asks about two pictures at once, which is what the
    model was trained for. `Scores.parts` holds each aspect; text rendering is NaN where the critique calls it N/A, and
    does not count. A critique that does not hold each score exactly once, as a number from 1 to 4, gives NaN and is
    counted in `failures`. The answer format is the published one, and the questions around it are this project's; give
    the published texts to reproduce published numbers. Critiques take the likeliest word each time. Pictures go through
    the model in physical batches that share a question. Not differentiable.

    Args:
        model: a Qwen3-VL of transformers; it is frozen and set to eval mode.
        processor: its processor, with a chat template.
        name: the verifier's name in logs and reports.
        pointwise: the question about one picture, with {prompt}.
        pairwise: the question about two, with {prompt}.
        length: most tokens of a critique, at least 1.
        batch_size: pictures, or pairs, in one physical batch, at least 1.

    Raises:
        ValueError: as `LocalModel`.
    """

    kind = "rationalrewards"
    differentiable = False

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "rationalrewards",
        pointwise: str = POINTWISE,
        pairwise: str = PAIRWISE,
        length: int = 1024,
        batch_size: int = 4,
    ) -> None:
        self.one, self.two = LocalModel(model, processor), LocalModel(model, processor, images=2)
        self.model: Any = self.one.model
        self.name, self.pointwise, self.pairwise = name, pointwise, pairwise
        self.length, self.batch_size = length, batch_size
        self.failures = 0

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, and for another number of prompts.
        """
        answers, finite = self.written(self.one, self.pointwise, media, prompts)
        found = self.table(answers, ("Score",), finite)[:, 0].to(media.device)
        return Scores(found.nanmean(1), {name.lower(): found[:, i] for i, name in enumerate(ASPECTS)})

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> Tensor:
        """Return P(the first is better) [b]: 1, 0, or 0.5 for a tie; NaN for a critique that cannot be read.

        The sum of the scores decides, as published; an aspect counts if both pictures have a score. The order of the
        pictures matters to the model: ask in both orders and average.

        Args:
            media_a: pictures [b, 3, h, w] in [0, 1].
            media_b: the others, of any size.
            prompts: b prompts.

        Raises:
            ValueError: for clips, and for different numbers of pictures and prompts.
        """
        require_pictures(self.name, media_a, prompts)
        require_pictures(self.name, media_b, prompts)
        (a, fine_a), (b, fine_b) = cleaned(media_a), cleaned(media_b)
        questions = [self.pairwise.replace("{prompt}", prompt) for prompt in prompts]
        answers = self.two.answers(list(zip(a, b, strict=True)), questions, self.length, self.batch_size)
        found = self.table(answers, ("Score A", "Score B"), fine_a & fine_b)
        lead = (found[:, 0] - found[:, 1]).nanmean(1)
        return torch.where(lead.isnan(), lead, lead.sign().add(1).div(2)).to(media_a.device)

    def table(self, answers: Sequence[str], labels: Sequence[str], finite: Tensor) -> Tensor:
        """Return the scores of critiques [n, labels, aspects], and count those that cannot be read.

        Args:
            answers: what the model wrote, n texts.
            labels: of the lines with scores.
            finite: whether the pictures are, bool [n].
        """
        empty = [[torch.nan] * len(ASPECTS)] * len(labels)
        read = [parse(answer, labels) for answer in answers]
        self.failures += sum(scores is None and bool(fine) for scores, fine in zip(read, finite, strict=True))
        found = torch.tensor([scores or empty for scores in read])
        return found.masked_fill(~finite[:, None, None], torch.nan)


def parse(answer: str, labels: Sequence[str]) -> list[list[float]] | None:
    """Return the scores of a critique [labels][aspects], NaN for "N/A"; None if it has another form.

    Args:
        answer: what the model wrote.
        labels: of the lines with scores, such as "Score" or "Score A" and "Score B".
    """
    heads = "|".join(rf"{i}\. {name}" for i, name in enumerate(ASPECTS, 1))
    _, *pieces = re.split(rf"^\W*({heads})\W*$", answer, flags=re.MULTILINE)
    if pieces[::2] != [f"{i}. {name}" for i, name in enumerate(ASPECTS, 1)]:
        return None
    scores: list[list[float]] = [[] for _ in labels]
    for name, section in zip(ASPECTS, pieces[1::2], strict=True):
        for label, row in zip(labels, scores, strict=True):
            found = re.findall(rf"^\W*{label}\W*:\W*(\S+?)\**$", section, re.MULTILINE)
            if found == ["N/A"] and name == OPTIONAL:
                row.append(torch.nan)
            elif len(found) == 1 and re.fullmatch(r"[1-4](\.[0-9]+)?", found[0]) and float(found[0]) <= 4:
                row.append(float(found[0]))
            else:
                return None
    return scores
