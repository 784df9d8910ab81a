"""What a server answered: text, first tokens and usage, from bodies that may hold anything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from verifiers.vlm.strict import Unparsed

SURE = 1.001  # most that probabilities may add up to; servers round
LIKELY = 0.2  # least probability of both words together; with less, the first token is not the answer
LEAST = 1e-12  # smallest probability of a word
BLANKS = " \t\r\n▁Ġ"  # white space, as text and as tokenizers write it


class Reply(NamedTuple):
    """What a model wrote.

    Attributes:
        text: of the message.
        tops: the likeliest first tokens with the logarithms of their probabilities; empty if the server gives none.
        read: tokens of the request.
        written: tokens of the reply.
    """

    text: str
    tops: tuple[tuple[str, float], ...] = ()
    read: int = 0
    written: int = 0


def read_reply(text: str) -> Reply:
    """Return the reply in the body of an answer; an empty one if it has another form, which no check accepts.

    Args:
        text: the body.
    """
    try:
        data = json.loads(text)
        first, used = data["choices"][0], data.get("usage") or {}
        said = first["message"].get("content")
        read, written = (whole(used.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        try:
            tokens = first["logprobs"]["content"][0]["top_logprobs"]
            tops = {str(top["token"]): float(top["logprob"]) for top in tokens}
            tops = tops if sum(map(math.exp, tops.values())) <= SURE else {}  # false for NaN
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            tops = {}
        return Reply(said if isinstance(said, str) else "", tuple(tops.items()), read, written)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return Reply("")


def whole(value: Any) -> int:
    """Return a count of tokens; 0 for anything that is none.

    Args:
        value: what a server reports.
    """
    return value if type(value) is int and 0 <= value < 10**9 else 0


def guess(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request has: a third of its characters, and 1,000 for each picture.

    Args:
        body: of the request.
    """
    parts = [part for message in body["messages"] for part in parts_of(message["content"])]
    return sum(1000 if part["type"] == "image_url" else len(part["text"]) // 3 + 1 for part in parts)


def parts_of(content: Any) -> list[dict[str, Any]]:
    """Return the parts of a message.

    Args:
        content: of the message, text or parts.
    """
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def message_in(text: str) -> str:
    """Return the message of an error body as one short line.

    Args:
        text: the body.
    """
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:300]


def share(reply: Reply, first: str, second: str) -> float:
    """Return P(first) / (P(first) + P(second)) of the first token, in (0, 1).

    Spellings with another case or with white space count together. A word that is not among the likeliest tokens has at
    most the probability of the least of them, and at most what the others leave; this is what it is given.

    Args:
        reply: with `tops`.
        first: a word in lower case.
        second: another one.

    Raises:
        Unparsed: if the reply has no tokens, or neither word is likely.
    """
    if not reply.tops:
        raise Unparsed("no probabilities of tokens")
    listed = [math.exp(value) for _, value in reply.tops]
    rest = max(LEAST, min(min(listed), 1 - sum(listed)))
    spelled = [token.strip(BLANKS).lower() for token, _ in reply.tops]
    found = [sum(p for p, word in zip(listed, spelled, strict=True) if word == wanted) for wanted in (first, second)]
    if sum(found) < LIKELY:
        raise Unparsed(f"neither {first} nor {second} is the likely answer")
    a, b = (max(p, rest) for p in found)
    return a / (a + b)
