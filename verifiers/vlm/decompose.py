"""A prompt as yes-or-no questions about single facts, and a verifier that combines the answers.

Soft-TIFA (Kamath et al. 2025, arXiv:2512.16853): probabilities of "yes" to atomic questions, combined by their product
or geometric mean, rank candidates more finely than one question about the whole prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from verifiers.batches import require_pictures
from verifiers.types import Media, Scores

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RELATIONS = ("left of", "right of", "above", "below")
LEAST = 1e-12  # smallest probability whose logarithm is taken


class Answerer(Protocol):
    """A model that answers yes-or-no questions about pictures."""

    @property
    def name(self) -> str:
        """Identifies the model in logs and reports."""

    @property
    def differentiable(self) -> bool:
        """Whether answers have gradients with respect to pixels."""

    def answer(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes), one tensor [q] for each picture; NaN for what was not answered.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            questions: of each picture, b sequences of one or more.
        """
        ...


class Phrase(NamedTuple):
    """One noun phrase of a prompt.

    Attributes:
        number: how many, as a word; empty for one.
        color: a word of `COLORS`; empty if there is none.
        noun: one or two words, singular or plural as in the prompt.
    """

    number: str
    color: str
    noun: str


class Sentence(NamedTuple):
    """A prompt in GenEval's grammar.

    Attributes:
        lead: what comes before its objects, such as "a photo of ", or nothing.
        words: its noun phrases as they are written.
        phrases: the same, read.
        relation: of the first to the second one, such as "left of" or "on the left of"; empty for a list with "and".
    """

    lead: str
    words: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    relation: str


def sentence(prompt: str, colors: Sequence[str] = COLORS) -> Sentence | None:
    """Return a prompt in GenEval's grammar (Ghosh et al. 2023, arXiv:2310.11513) by its parts; None for another form.

    Args:
        prompt: such as "a photo of two red stars", "a photo of a cup left of a dog" or "a photo of a cat and a dog".
        colors: words that are read as colours in front of a noun.
    """
    text = " ".join(prompt.split()).rstrip(".")
    lead, rest = re.fullmatch(r"((?:an? (?:photo|picture|image) of )?)(.*)", text, re.IGNORECASE).groups()  # type: ignore[union-attr]
    relations = rf"(.+?) ((?:(?:on|to) the )?(?:{'|'.join(RELATIONS)})) (.+)"
    related = re.fullmatch(relations, rest, re.IGNORECASE)
    words = (related[1], related[3]) if related else tuple(re.split(" and ", rest, flags=re.IGNORECASE))
    read = [phrase(part.lower(), colors) for part in words]
    phrases = tuple(found for found in read if found)
    if len(phrases) < len(words) or (related and any(found.number for found in phrases)):
        return None
    return Sentence(lead, words, phrases, related[2] if related else "")


def decompose(prompt: str, colors: Sequence[str] = COLORS) -> tuple[str, ...]:
    """Return the questions of a prompt in GenEval's grammar, one for each fact.

    Args:
        prompt: as for `sentence`.
        colors: words that are read as colours in front of a noun.

    Raises:
        ValueError: for a prompt of another form.
    """
    read = sentence(prompt, colors)
    if read is None:
        raise ValueError(
            f"no rule splits the prompt {prompt!r} into questions; write one as 'a photo of two red cups and a dog' or "
            "'a photo of a cup left of a dog', or give a function that lists the questions of a prompt"
        )
    asked = [question for found in read.phrases for question in facts(found)]
    if read.relation:
        first, second = read.phrases
        relation = next(name for name in RELATIONS if read.relation.lower().endswith(name))
        asked.append(f"Is the {first.noun} {relation} the {second.noun}?")
    return tuple(asked)


def phrase(text: str, colors: Sequence[str] = COLORS) -> Phrase | None:
    """Return the number, colour and noun of a phrase such as "three red cups"; None if it has another form.

    Args:
        text: lower case, single spaces.
        colors: words that are read as colours in front of a noun.
    """
    found = re.fullmatch(rf"(?:(an?|one|{'|'.join(NUMBERS)}) )(?:({'|'.join(colors)}) )?([a-z-]+(?: [a-z-]+)?)", text)
    if not found:
        return None
    number = "" if found[1] in ("a", "an", "one") else found[1]
    return Phrase(number, found[2] or "", found[3])


def facts(p: Phrase) -> list[str]:
    """Return the questions about one noun phrase: that it is there, how many, and of which colour.

    Args:
        p: the phrase.
    """
    if p.number:
        colored = [f"Are all the {p.noun} {p.color}?"] if p.color else []
        return [f"Are there exactly {p.number} {p.noun}?", *colored]
    colored = [f"Is the {p.noun} {p.color}?"] if p.color else []
    return [f"Is there {'an' if p.noun[0] in 'aeiou' else 'a'} {p.noun}?", *colored]


class Decomposed:
    """The logarithm of the product, or of the geometric mean, of P(yes) over the questions of a prompt, at most 0.

    Soft-TIFA (Kamath et al. 2025, arXiv:2512.16853). The logarithm orders samples as the product does, and keeps apart
    those that are almost certain. `Scores.parts` holds P(yes) of each question, NaN where it was not asked.

    Args:
        judge: answers the questions.
        split: from a prompt to its questions.
        combine: "product", or "geometric" for the geometric mean.
        name: the verifier's name in logs and reports; that of `judge` if empty.

    Raises:
        ValueError: for another `combine`.
    """

    def __init__(
        self,
        judge: Answerer,
        *,
        split: Callable[[str], Sequence[str]] = decompose,
        combine: str = "product",
        name: str = "",
    ) -> None:
        if combine not in ("product", "geometric"):
            raise ValueError(f"combine is {combine!r}; it must be 'product' or 'geometric'")
        self.judge, self.split, self.combine = judge, split, combine
        self.name = name or judge.name
        self.differentiable = judge.differentiable

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "batch_size", "device"):  # those of the judge, where it has them
            return getattr(self.judge, name)
        raise AttributeError(name)

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, for another number of prompts, and as `split`.
        """
        require_pictures(self.name, media, prompts)
        questions = [tuple(self.split(prompt)) for prompt in prompts]
        logs = self.judge.answer(media, questions)
        totals = [row.mean() if self.combine == "geometric" else row.sum() for row in logs]
        named = list(dict.fromkeys(question for row in questions for question in row))
        parts = {question: torch.full((len(prompts),), torch.nan, device=media.device) for question in named}
        for i, (row, asked) in enumerate(zip(logs, questions, strict=True)):
            for question, value in zip(asked, row.detach(), strict=True):
                parts[question][i] = value.exp()
        return Scores(torch.stack(totals).to(media.device), parts)
