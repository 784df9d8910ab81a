"""A vision-language model behind an HTTP server as verifier: rubrics, yes-or-no questions and comparisons of pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from verifiers.batches import require_pictures
from verifiers.card import Card
from verifiers.types import Media, Scores
from verifiers.vlm.chat import TRIES, Chat, Request
from verifiers.vlm.messages import Message, conversation, picture, quoted
from verifiers.vlm.reply import LEAST
from verifiers.vlm.strict import choice, obj

CARD = Card(
    checkpoint="any model behind an OpenAI-compatible server",
    licence="of the model on the server",
    input="pictures",
    range="rubrics 0 to 1; questions: log P(yes), at most 0",
    size="on the server",
    price="1 request; with probabilities of tokens 1 for each question",
)
ROLE = "You examine generated pictures and answer exactly in the form that is asked for."
PAIR = (
    "Picture a comes first, picture b second. Both were generated from the prompt",
    "Which one shows the prompt better and has fewer faults? Answer a or b.",
)
COMBINE = ("mean", "geometric", "minimum")
MOST_PROMPT = 500  # tokens of a prompt that a price reckons with


class Field(NamedTuple):
    """One number of a rubric.

    Attributes:
        name: of the number in answers and reports.
        question: what it says of the picture.
        low: the worst value.
        high: the best one.
        weight: in the total, above 0.
    """

    name: str
    question: str
    low: float = 0.0
    high: float = 10.0
    weight: float = 1.0


class Critic:
    """Scores by a rubric in [0, 1], answers yes-or-no questions, and compares pairs of pictures.

    Rubric: VIEScore (Ku et al. 2024, arXiv:2312.14867). Each field is scaled to [0, 1] and they are combined by a
    weighted mean, a weighted geometric mean, or their minimum. `Scores.parts` holds the numbers as they were given.
    Answers that never came, or were not valid, are NaN. Not differentiable.

    Args:
        chat: the model.
        rubric: the numbers to ask for; empty for a critic that only answers questions.
        combine: "mean", "geometric" or "minimum".
        name: the verifier's name in logs and reports.
        questions: yes-or-no questions to one picture that the price reckons with, 0 or more.
        picture_tokens: tokens of one picture that the price reckons with, 0 or more.

    Raises:
        ValueError: for another `combine`.
    """

    differentiable = False

    def __init__(
        self,
        chat: Chat,
        rubric: Sequence[Field] = (),
        *,
        combine: str = "mean",
        name: str = "critic",
        questions: int = 0,
        picture_tokens: int = 1500,
    ) -> None:
        if combine not in COMBINE:
            raise ValueError(f"combine is {combine!r}; it must be {', '.join(COMBINE[:-1])} or {COMBINE[-1]}")
        self.chat, self.rubric, self.combine, self.name = chat, tuple(rubric), combine, name
        self.endpoint = f"{chat.client.url} {chat.model}"
        self.question = json.dumps([self.rubric, combine])
        self._questions, self._picture = questions, picture_tokens

    @property
    def fee(self) -> dict[str, int]:
        """The most that one score can cost: `critic_tokens` and `microdollars`, all tries included."""
        read = 300 + self._picture + MOST_PROMPT
        count, prices = self._questions, self.chat.client.price
        ways = [(TRIES * (read + len(self.question)), TRIES * room(len(self.rubric)))] if self.rubric else []
        if count:  # one by one by probabilities, or all of them in one answer
            ways += [(count * read, count), (TRIES * (read + 60 * count), TRIES * room(count))]
        tokens = max((a + b for a, b in ways), default=0)
        money = max((a * prices[0] + b * prices[1] for a, b in ways), default=0.0)
        return {"critic_tokens": tokens, "microdollars": math.ceil(money)}

    def bill(self) -> dict[str, int]:
        """Return what was spent since the last call: `critic_tokens` and `microdollars`."""
        return self.chat.client.bill()

    def __call__(self, media: Media, prompts: Sequence[str], *, progress: float = 1.0) -> Scores:
        """Score pictures by the rubric, on their device.

        Args:
            media: pictures [b, 3, h, w] in [0, 1]; one that is not finite is unscored.
            prompts: b prompts.
            progress: ignored.

        Raises:
            ValueError: for clips, another number of prompts, no rubric, and a server that cannot be used.
        """
        require_pictures(self.name, media, prompts)
        if not self.rubric:
            raise ValueError(f"{self.name} has no rubric; add one to its YAML, or ask it questions by Decomposed")
        schema = obj(**{f.name: {"type": "number", "minimum": f.low, "maximum": f.high} for f in self.rubric})
        lines = "\n".join(f"- {f.name}: {f.question} ({f.low:g} worst, {f.high:g} best)" for f in self.rubric)
        shown, rows = pictures_of(media)
        asks = [f"The picture was generated from the prompt {quoted(prompts[i])}.\nRate it:\n{lines}" for i in rows]
        talks = [conversation(text, shown[i], system=ROLE) for i, text in zip(rows, asks, strict=True)]
        answers = self.chat.ask([Request(talk, schema, room(len(self.rubric))) for talk in talks]) if talks else []
        parts = {f.name: torch.full((len(media),), torch.nan) for f in self.rubric}
        for i, answer in zip(rows, answers, strict=True):
            for name in parts if answer else ():
                parts[name][i] = answer[name]
        total = combined([(parts[f.name] - f.low) / (f.high - f.low) for f in self.rubric], self.rubric, self.combine)
        return Scores(total.to(media.device), {name: value.to(media.device) for name, value in parts.items()})

    def answer(self, media: Media, questions: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return the logarithms of P(yes), one tensor [q] for each picture; NaN for what was not answered.

        Where the server gives no probabilities, all questions of a picture are one request, and a "no" counts as the
        logarithm of 1e-12.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            questions: of each picture, b sequences of one or more.

        Raises:
            ValueError: for clips, another number of sequences, and a server that cannot be used.
        """
        require_pictures(self.name, media, ["" for _ in questions])
        shown, rows = pictures_of(media)
        logs = [torch.full((len(asked),), torch.nan) for asked in questions]
        if not rows:
            return [row.to(media.device) for row in logs]
        if self.chat.gives_tokens():
            places = [(i, k) for i in rows for k in range(len(questions[i]))]
            talks = [
                conversation(f"{quoted(questions[i][k])} Answer yes or no.", shown[i], system=ROLE) for i, k in places
            ]
            for (i, k), p in zip(places, self.chat.choose(talks, "yes", "no"), strict=True):
                logs[i][k] = torch.nan if p is None else math.log(max(p, LEAST))
        else:
            for i, said in zip(rows, self.chat.ask([all_of(questions[i], shown[i]) for i in rows]), strict=True):
                for k in range(len(questions[i]) if said else 0):
                    logs[i][k] = 0.0 if said[f"q{k + 1}"] == "yes" else math.log(LEAST)
        return [row.to(media.device) for row in logs]

    def compare(self, media_a: Media, media_b: Media, prompts: Sequence[str]) -> Tensor:
        """Return P(a is better) [b] in [0, 1], asked with a first; NaN where there is no verdict.

        Models prefer one of the places. Ask again with the pictures exchanged, and take 1 minus the second result.

        Args:
            media_a: pictures [b, 3, h, w] in [0, 1].
            media_b: other pictures of the same prompts.
            prompts: b prompts.

        Raises:
            ValueError: for clips, other numbers of pictures or prompts, and a server that cannot be used.
        """
        require_pictures(self.name, media_a, prompts)
        require_pictures(self.name, media_b, prompts)
        (first, fine), (second, also) = pictures_of(media_a), pictures_of(media_b)
        rows = [i for i in fine if i in also]
        asks = [f"{PAIR[0]} {quoted(prompts[i])}. {PAIR[1]}" for i in rows]
        talks = [conversation(text, first[i], second[i], system=ROLE) for i, text in zip(rows, asks, strict=True)]
        found = torch.full((len(prompts),), torch.nan)
        for i, p in zip(rows, self.chat.choose(talks, "a", "b") if talks else [], strict=True):
            found[i] = torch.nan if p is None else p
        return found.to(media_a.device)

    def complete(self, messages: Sequence[Message], schema: Any = None, *, most: int = 512) -> Any:
        """Return what the model answers to a conversation without pictures; as `Chat.complete`.

        Args:
            messages: the conversation, as `conversation` makes it; text of users goes through `quoted`.
            schema: JSON Schema of the answer, an object; None for free text.
            most: tokens that may be written, 1 or more (default 512).

        Raises:
            ValueError: if no valid answer came; with the reason.
        """
        return self.chat.complete(messages, schema, most=most)


def pictures_of(media: Media) -> tuple[dict[int, Message], list[int]]:
    """Return the finite pictures as parts of messages, by row, and their rows.

    Args:
        media: pictures [b, 3, h, w].
    """
    rows = media.isfinite().flatten(1).all(1).nonzero()[:, 0].tolist()
    return {i: picture(media[i]) for i in rows}, rows


def all_of(questions: Sequence[str], shown: Message) -> Request:
    """Return one request with all questions of a picture, whose answers are named q1, q2 and so on.

    Args:
        questions: one or more.
        shown: the picture.
    """
    names = [f"q{k + 1}" for k in range(len(questions))]
    lines = "\n".join(f"- {name}: {quoted(question)}" for name, question in zip(names, questions, strict=True))
    schema = obj(**dict.fromkeys(names, choice("yes", "no")))
    return Request(conversation(f"Answer these questions:\n{lines}", shown, system=ROLE), schema, room(len(questions)))


def room(fields: int) -> int:
    """Return the tokens that an answer may have.

    Args:
        fields: how many it holds.
    """
    return 64 + 32 * fields


def combined(scaled: Sequence[Tensor], rubric: Sequence[Field], how: str) -> Tensor:
    """Return one number per picture [b] in [0, 1]; NaN if one of its fields is.

    Args:
        scaled: the fields, [b] each in [0, 1].
        rubric: their weights.
        how: "mean", "geometric" or "minimum".
    """
    values = torch.stack(list(scaled))
    weights = torch.tensor([field.weight for field in rubric])[:, None]
    weights = weights / weights.sum()
    if how == "minimum":
        return values.amin(0)  # NaN wins
    return (values * weights).sum(0) if how == "mean" else values.pow(weights).prod(0)
