"""Yes-or-no questions that come with a prompt, as one verdict of a vision-language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from verifiers.batches import require_pictures
from verifiers.types import Media, Scores
from verifiers.vlm.decompose import Answerer


class Checklist:
    """The probability that every question of a prompt has the answer that it should have, in [0, 1].

    Soft-TIFA (Kamath et al. 2025, arXiv:2512.16853) for given questions: the product of P(yes), or of 1 - P(yes) where
    the answer should be no. `Scores.parts` holds the factor of each question, NaN where it was not asked.

    Args:
        judge: answers the questions.
        questions: prompt -> pairs of a question and "yes" or "no".
        name: the verifier's name in logs and reports; that of `judge` if empty.

    Raises:
        ValueError: for a model that answers no questions.
    """

    differentiable = False

    def __init__(self, judge: Answerer, questions: Mapping[str, Sequence[tuple[str, str]]], name: str = "") -> None:
        if not hasattr(judge, "answer"):
            raise ValueError(f"{judge.name} answers no questions; take one such as vqascore:Qwen/Qwen3-VL-8B-Instruct")
        self.judge, self.questions, self.name = judge, questions, name or judge.name

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "batch_size", "device", "question"):  # those of the judge, where it has them
            return getattr(self.judge, name)
        raise AttributeError(name)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts of `questions`.
            progress: ignored.

        Raises:
            ValueError: for clips, for another number of prompts, and for a prompt without questions.
        """
        require_pictures(self.name, media, prompts)
        if unknown := [prompt for prompt in prompts if prompt not in self.questions]:
            raise ValueError(f"there are no questions for the prompt {unknown[0]!r}")
        asked = [self.questions[prompt] for prompt in prompts]
        yes = self.judge.answer(media, [[question for question, _ in pairs] for pairs in asked])
        names = dict.fromkeys(question for pairs in asked for question, _ in pairs)
        parts = {name: torch.full((len(media),), torch.nan, device=media.device) for name in names}
        total = torch.ones(len(media), device=media.device)
        for i, (pairs, logs) in enumerate(zip(asked, yes, strict=True)):
            for (question, answer), log in zip(pairs, logs.detach(), strict=True):
                parts[question][i] = log.exp() if answer == "yes" else 1 - log.exp()
                total[i] *= parts[question][i]
        return Scores(total, parts)
