"""UnifiedReward 2: a Qwen3-VL that writes three scores of a picture: alignment, coherence and style."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from verifiers.card import Card
from verifiers.types import Media, Scores
from verifiers.vlm.local import LocalModel, Written

CARD = Card(
    checkpoint="CodeGoat24/UnifiedReward-2.0-qwen3vl-2b (4b, 8b, 32b)",
    licence="Apache-2.0",
    input="pictures",
    range="1 to 5; published means 2.0 (SD 1.5) to 3.85 for each score",
    size="2B, 4B, 8B or 32B parameters",
    price="1 answer of about 40 tokens",
)
SIZES = ("2b", "4b", "8b", "32b")
ASPECTS = ("Alignment", "Coherence", "Style")
QUESTION = """You see a generated image and the text that it was generated from. Give it three scores from 1 to 5:
- Alignment: does the image show what the text says?
- Coherence: is the image free of glitches, distorted objects and contradictions?
- Style: how pleasing does the image look, whatever the text says?

Answer in this format and write nothing else:

Alignment Score (1-5): X
Coherence Score (1-5): Y
Style Score (1-5): Z

Text Caption: [{prompt}]"""


class UnifiedReward(Written):
    """The mean of three written scores, in [1, 5]. UnifiedReward, Wang et al. 2025, arXiv:2503.05236; version 2.

    `Scores.parts` holds `alignment`, `coherence` and `style`. An answer that does not hold each of them exactly once,
    as a number from 1 to 5, gives NaN and is counted in `failures`. The answer format is the published one, and the
    question around it is this project's; give the published text as `question` to reproduce published numbers. Answers
    take the likeliest word each time. Pictures go through the model in physical batches that share a question. A
    picture with a non-finite pixel scores NaN. Not differentiable.

    Args:
        model: a Qwen3-VL of transformers; it is frozen and set to eval mode.
        processor: its processor.
        name: the verifier's name in logs and reports.
        question: with {prompt} where the prompt belongs.
        template: the text around it, with {image} and {question}; None for the chat template of the processor.
        length: most tokens of an answer, at least 1.
        batch_size: pictures in one physical batch, at least 1.

    Raises:
        ValueError: as `LocalModel`.
    """

    kind = "unifiedreward"
    differentiable = False

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "unifiedreward",
        question: str = QUESTION,
        template: str | None = None,
        length: int = 64,
        batch_size: int = 4,
    ) -> None:
        self.local = LocalModel(model, processor, template)
        self.model: Any = self.local.model
        self.name, self.question, self.length, self.batch_size = name, question, length, batch_size
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
        answers, finite = self.written(self.local, self.question, media, prompts)
        found = torch.tensor([parse(answer) or (torch.nan,) * len(ASPECTS) for answer in answers])
        self.failures += int((found[:, 0].isnan() & finite).sum())
        found = found.masked_fill(~finite[:, None], torch.nan).to(media.device)
        return Scores(found.mean(1), {name.lower(): found[:, i] for i, name in enumerate(ASPECTS)})


def parse(answer: str) -> tuple[float, ...] | None:
    """Return the three scores of an answer; None if one is missing, repeated or outside 1 to 5.

    Args:
        answer: what the model wrote.
    """
    scores = []
    for name in ASPECTS:
        found = re.findall(rf"^\W*{name} Score \(1-5\)\W*:\W*([0-9.]+)\W*$", answer, re.MULTILINE)
        if len(found) != 1 or not re.fullmatch(r"[1-5](\.[0-9]+)?", found[0]) or float(found[0]) > 5:
            return None
        scores.append(float(found[0]))
    return tuple(scores)
