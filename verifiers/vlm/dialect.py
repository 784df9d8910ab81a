"""What a server can do, found by asking: answers by schema, first tokens, thinking switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from verifiers.vlm.client import BadRequest, Refused, Unanswered
from verifiers.vlm.messages import Message, conversation
from verifiers.vlm.reply import share
from verifiers.vlm.strict import Schema, Unparsed, choice, example, obj, parse

STRUCTURES = ("json_schema", "json_object", "text")  # best first
OPTIONS = {  # fields that a server may not know; the first are given up first
    "chat_template_kwargs": {"enable_thinking": False},  # vLLM and llama.cpp
    "reasoning_effort": "none",  # Ollama, llama.cpp and hosted models
    "seed": 0,
    "temperature": 0,
}
LENGTHS = ("max_tokens", "max_completion_tokens")
TOPS = 20  # first tokens to ask for; the most that hosted services and vLLM give
PROBED = "Is a square round? Answer yes or no."


class Dialect(NamedTuple):
    """How a server is asked.

    Attributes:
        structure: how it is held to a schema: "json_schema", "json_object" or "text", by the instructions alone.
        options: names of the fields of `OPTIONS` that it takes.
        length: its name for the most tokens that may be written.
    """

    structure: str = STRUCTURES[0]
    options: tuple[str, ...] = tuple(OPTIONS)
    length: str = LENGTHS[0]

    def body(
        self, model: str, messages: Sequence[Message], most: int, *, schema: Schema | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Return a request.

        Args:
            model: its name on the server.
            messages: the conversation.
            most: tokens that may be written, 1 or more.
            schema: of the answer; None for free text.
            seed: of this try, 0 or more.
        """
        values = {**OPTIONS, "seed": seed}
        body = {"model": model, "messages": list(messages), self.length: most}
        body |= {name: values[name] for name in self.options}
        if schema is not None and self.structure == "json_schema":
            wanted = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif schema is not None and self.structure == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def first_token(self, model: str, messages: Sequence[Message]) -> dict[str, Any]:
        """Return a request for one token and its alternatives.

        Args:
            model: its name on the server.
            messages: the conversation.
        """
        return {**self.body(model, messages, 1), "logprobs": True, "top_logprobs": TOPS}

    def plainer(self) -> Dialect | None:
        """Return this dialect with the next weaker structure; None after the last."""
        place = STRUCTURES.index(self.structure) + 1
        return self._replace(structure=STRUCTURES[place]) if place < len(STRUCTURES) else None

    def without(self, said: str) -> Dialect | None:
        """Return this dialect without what a server refused: what its message names, else what is given up first.

        Args:
            said: the server's message.
        """
        if self.length in said and self.length == LENGTHS[0]:
            return self._replace(length=LENGTHS[1])
        if any(word in said for word in ("response_format", "json_schema", "json_object")) and (less := self.plainer()):
            return less
        if named := [name for name in self.options if name in said]:
            return self._replace(options=tuple(name for name in self.options if name not in named))
        if self.options:
            return self._replace(options=self.options[1:])
        return self.plainer() or (self._replace(length=LENGTHS[1]) if self.length == LENGTHS[0] else None)


def instructed(messages: Sequence[Message], schema: Schema) -> list[Message]:
    """Return messages that end with how to answer.

    Args:
        messages: the conversation; its last message is the user's.
        schema: of the answer.
    """
    *before, last = messages
    text = f"\nAnswer with JSON only, in this form: {example(schema)}"
    content = last["content"]
    if isinstance(content, str):
        return [*before, {**last, "content": content + text}]
    return [*before, {**last, "content": [*content[:-1], {**content[-1], "text": content[-1]["text"] + text}]}]


Ask = Callable[..., Any]  # Client.ask


def probe(ask: Ask, model: str, pictures: Sequence[Message] = ()) -> Dialect:
    """Return the best dialect in which a server answers a simple question.

    Fields that it refuses are left out one by one. A server that takes a schema and does not keep to it is asked with
    a weaker one.

    Args:
        ask: sends a request; `Client.ask`.
        model: its name on the server.
        pictures: sent along, to see whether it takes pictures.

    Raises:
        Refused: for a server that cannot be reached, or never gave a valid answer.
    """
    schema = obj(answer=choice("yes", "no"))
    messages = instructed(conversation(PROBED, *pictures), schema)
    dialect: Dialect | None = Dialect()
    said = ""
    while dialect:
        body = dialect.body(model, messages, 64, schema=schema)
        try:
            ask(body, lambda reply: parse(reply.text, schema))
        except BadRequest as error:
            said = str(error)
            dialect = dialect.without(said)
        except Unparsed as error:
            said = f"its answer to a simple question was {error}"
            dialect = dialect.plainer()
        except Unanswered as error:
            raise Refused(f"no answer from the server of {model!r}: {error}; start it, or correct url") from None
        else:
            return dialect
    what = "pictures and " if pictures else ""
    raise Refused(f"the model {model!r} does not take {what}simple questions ({said}); take another model or server")


def gives_tokens(ask: Ask, model: str, dialect: Dialect, pictures: Sequence[Message] = ()) -> bool:
    """Return whether a server gives probabilities of the first token, and that token is the answer.

    Args:
        ask: sends a request; `Client.ask`.
        model: its name on the server.
        dialect: how it is asked.
        pictures: sent along.

    Raises:
        Refused: for a server that cannot be reached.
    """
    body = dialect.first_token(model, conversation(PROBED, *pictures))
    try:
        ask(body, lambda reply: share(reply, "yes", "no"))
    except (BadRequest, Unparsed):
        return False
    except Unanswered as error:
        raise Refused(f"no answer from the server of {model!r}: {error}; start it, or correct url") from None
    return True
