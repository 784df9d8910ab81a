"""A chat model that is asked for checked answers: JSON by a schema, or one of two words with its probability."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import torch

from verifiers.vlm.cache import digest
from verifiers.vlm.client import BadRequest, Client, Refused, Unanswered
from verifiers.vlm.dialect import Dialect, gives_tokens, instructed, probe
from verifiers.vlm.messages import Message, picture
from verifiers.vlm.reply import Reply, share
from verifiers.vlm.strict import Schema, Unparsed, choice, obj, parse

T = TypeVar("T")
log = logging.getLogger(__name__)
TRIES = 3  # for one valid answer
PROBE = picture(torch.linspace(0, 1, 64 * 64).view(1, 64, 64).expand(3, 64, 64))


class Request(NamedTuple):
    """What is asked.

    Attributes:
        messages: the conversation.
        schema: of the answer.
        most: tokens that may be written.
    """

    messages: Sequence[Message]
    schema: Schema
    most: int


class Chat:
    """A model on a server; what the server can do is found with the first request.

    An answer that is not valid is asked for again, with the reason, at most three times in all. After that it is
    missing, and counted in `failures` by its reason.

    Args:
        client: sends the requests.
        model: its name on the server.
    """

    def __init__(self, client: Client, model: str) -> None:
        self.client, self.model = client, model
        self.failures: Counter[str] = Counter()
        self._dialects: dict[bool, Dialect] = {}
        self._tokens: dict[bool, bool] = {}
        self._lock = Lock()

    def dialect(self, pictures: bool) -> Dialect:
        """Return how the server is asked.

        Args:
            pictures: whether the requests hold pictures.

        Raises:
            Refused: as `probe`.
        """
        if pictures not in self._dialects:
            self._dialects[pictures] = probe(self.client.ask, self.model, [PROBE] * pictures)
        return self._dialects[pictures]

    def gives_tokens(self) -> bool:
        """Return whether the server gives probabilities of the first token after a picture.

        Raises:
            Refused: as `probe`.
        """
        if True not in self._tokens:
            self._tokens[True] = gives_tokens(self.client.ask, self.model, self.dialect(True), [PROBE])
        return self._tokens[True]

    def ask(self, requests: Sequence[Request], pictures: bool = True) -> list[Any]:
        """Return the answer to each request, in their order; None where there is none. Equal requests are sent once.

        An answer must repeat the id of its request, so that a server that mixes them up is noticed.

        Args:
            requests: any number.
            pictures: whether they hold pictures.

        Raises:
            Refused: for a server that cannot be used.
        """
        dialect = self.dialect(pictures)
        return self._each(requests, lambda request: self._answer(dialect, request))

    def choose(self, talks: Sequence[Sequence[Message]], first: str, second: str) -> list[float | None]:
        """Return P(first) against P(second) as the next word of each conversation; None where there is none.

        Probabilities are those of the first token where the server gives them. Otherwise the model names one of the
        words, and the other has the probability 0.

        Args:
            talks: conversations with pictures.
            first: a word in lower case.
            second: another one.

        Raises:
            Refused: for a server that cannot be used.
        """
        if self.gives_tokens():
            dialect = self.dialect(True)
            return self._each(talks, lambda messages: self._share(dialect, messages, first, second))
        schema = obj(answer=choice(first, second))
        said = self.ask([Request(messages, schema, 64) for messages in talks])
        return [None if answer is None else float(answer["answer"] == first) for answer in said]

    def complete(self, messages: Sequence[Message], schema: Schema | None = None, *, most: int = 512) -> Any:
        """Return what the model answers to one conversation without pictures: text, or data if there is a schema.

        Args:
            messages: the conversation, as `conversation` makes it; text of users goes through `quoted`.
            schema: JSON Schema of the answer, an object; of object, array, string, number and integer.
            most: tokens that may be written, 1 or more (default 512).

        Raises:
            ValueError: if no valid answer came; with the reason.
        """
        dialect = self.dialect(False)
        try:
            if schema is not None:
                return self._valid(dialect, Request(messages, schema, most))
            return self.client.ask(dialect.body(self.model, messages, most), words)
        except (BadRequest, Unanswered, Unparsed) as error:
            raise Refused(f"{self.model!r} gave no valid answer: {error}; ask again or take another model") from None

    def _each(self, items: Sequence[Any], work: Callable[[Any], T]) -> list[T | None]:
        def one(item: Any) -> T | None:
            try:
                return work(item)
            except (BadRequest, Unanswered, Unparsed) as error:
                with self._lock:
                    self.failures[str(error)] += 1
                log.warning("no answer from %s: %s", self.model, error)
                return None

        names = [json.dumps(item) for item in items]
        different = dict(zip(names, items, strict=True))
        found = dict(zip(different, self.client.map(one, list(different.values())), strict=True))
        return [found[name] for name in names]

    def _share(self, dialect: Dialect, messages: Sequence[Message], first: str, second: str) -> float:
        body = dialect.first_token(self.model, messages)
        return self.client.ask(body, lambda reply: share(reply, first, second))

    def _answer(self, dialect: Dialect, request: Request) -> dict[str, Any]:
        tag = digest([self.model, request.messages])[:8]
        schema = obj(id=choice(tag), **request.schema["properties"])
        answer: dict[str, Any] = self._valid(dialect, request._replace(schema=schema))
        del answer["id"]
        return answer

    def _valid(self, dialect: Dialect, request: Request) -> Any:
        messages, schema, reason = instructed(request.messages, request.schema), request.schema, ""
        first = dialect.body(self.model, messages, request.most, schema=schema)

        def once(attempt: int) -> Any:
            nonlocal reason
            again = f"Your last answer was not valid ({reason}). Answer with the JSON alone."
            talk = [*messages, {"role": "user", "content": again}] if attempt else messages
            body = dialect.body(self.model, talk, request.most, schema=schema, seed=attempt)
            try:
                return self.client.ask(body, lambda reply: parse(reply.text, schema), first)
            except Unparsed as error:
                reason = str(error)
                raise

        return retried(once)


def retried(work: Callable[[int], T]) -> T:
    """Return what `work` returns for the first of at most three attempts whose answer is valid.

    Args:
        work: called with the number of the attempt, from 0.

    Raises:
        Unparsed: if none is; of the last attempt.
    """
    for attempt in range(TRIES - 1):
        try:
            return work(attempt)
        except Unparsed:
            continue
    return work(TRIES - 1)


def words(reply: Reply) -> str:
    """Return the text of a reply without its thoughts; raises Unparsed if there is none.

    Args:
        reply: of a model.
    """
    text = reply.text.strip()
    text = text.partition("</think>")[2].strip() if text.startswith("<think>") else text
    if not text:
        raise Unparsed("an empty reply")
    return text
