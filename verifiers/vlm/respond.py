"""Free answers and chances of words from a vision-language model, local or behind an HTTP server."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from verifiers.batches import sizes
from verifiers.types import Device, Media
from verifiers.vlm.chat import TRIES, Chat, words
from verifiers.vlm.client import BadRequest, Unanswered
from verifiers.vlm.critic import ROLE, pictures_of
from verifiers.vlm.local import LocalModel, alike, cleaned, load
from verifiers.vlm.messages import conversation
from verifiers.vlm.reply import BLANKS, Reply
from verifiers.vlm.strict import Unparsed

T = TypeVar("T")
Asked = tuple[str, tuple[str, ...]]  # a question, and the spellings of its answer
log = logging.getLogger(__name__)


class Writer(Protocol):
    """A vision-language model that writes answers about pictures."""

    def write(self, media: Media, texts: Sequence[str], read: Callable[[str], T], most: int) -> list[T | None]:
        """Return what `read` makes of the answer about each picture; None where no answer was valid.

        Args:
            media: pictures [b, 3, h, w] in [0, 1].
            texts: b requests.
            read: takes an answer, or raises `Unparsed`; after that the model is asked again, at most three times.
            most: tokens that an answer may have, 1 or more.
        """
        ...


class Speller(Protocol):
    """A vision-language model that says how likely a word is."""

    def chances(self, media: Media, asked: Sequence[Sequence[Asked]], distinct: bool) -> list[Tensor]:
        """Return the probability of each answer as the next word, one tensor [q] for each picture.

        Args:
            media: pictures [b, 3, h, w] in [0, 1]; one that is not finite has NaN.
            asked: of each picture, one or more questions with the spellings that count.
            distinct: count each first token once, and only of spellings that are one token.
        """
        ...


class LocalResponder:
    """A model of transformers in this process; it writes the likeliest words, so it is asked once.

    Args:
        local: the model.
        name: of the model in logs and reports.
        batch_size: pictures in one physical batch, at least 1.
    """

    def __init__(self, local: LocalModel, *, name: str = "local", batch_size: int = 4) -> None:
        self.local, self.name, self.batch_size = local, name, batch_size
        self.model: Any = local.model

    def write(self, media: Media, texts: Sequence[str], read: Callable[[str], T], most: int) -> list[T | None]:
        """Return what `read` makes of the answers; see `Writer`."""
        pixels, finite = cleaned(media)
        said = self.local.answers([[picture] for picture in pixels], texts, most, self.batch_size)
        return [attempt(read, text) if fine else None for text, fine in zip(said, finite.tolist(), strict=True)]

    def chances(self, media: Media, asked: Sequence[Sequence[Asked]], distinct: bool) -> list[Tensor]:
        """Return probabilities among all words; see `Speller`."""
        pixels, finite = cleaned(media)
        flat = [(row, text, spellings) for row, own in enumerate(asked) for text, spellings in own]
        batches = sizes(len(media), self.batch_size)
        found = torch.empty(len(flat))
        for text, places, count in alike([text for _, text, _ in flat], [batches[row] for row, _, _ in flat]):
            shares = self.local.next_word([[pixels[flat[place][0]]] for place in places], text).softmax(1).cpu()
            for share, place in zip(shares[:count], places[:count], strict=True):
                found[place] = share[self.first_tokens(flat[place][2], distinct)].sum()
        found[~finite[[row for row, _, _ in flat]]] = torch.nan
        return list(found.to(media.device).split([len(own) for own in asked]))

    def first_tokens(self, spellings: Sequence[str], distinct: bool) -> list[int]:
        """Return the first token of each spelling.

        Args:
            spellings: of one answer.
            distinct: each token once, and only of spellings that are one token; if none is, each first token once.
        """
        tokenizer = self.local.processor.tokenizer
        ids = [list(tokenizer(form, add_special_tokens=False)["input_ids"]) for form in spellings]
        if not distinct:
            return [own[0] for own in ids]
        return list(dict.fromkeys([own[0] for own in ids if len(own) == 1] or [own[0] for own in ids]))


class RemoteResponder:
    """A model behind a server. Chances are those among the likeliest tokens that the server lists.

    Args:
        chat: the model.
        name: of the model in logs and reports.
    """

    def __init__(self, chat: Chat, *, name: str = "remote") -> None:
        self.chat, self.name = chat, name
        self.endpoint = f"{chat.client.url} {chat.model}"

    def bill(self) -> dict[str, int]:
        """Return what was spent since the last call: `critic_tokens` and `microdollars`."""
        return self.chat.client.bill()

    def write(self, media: Media, texts: Sequence[str], read: Callable[[str], T], most: int) -> list[T | None]:
        """Return what `read` makes of the answers; see `Writer`."""
        shown, rows = pictures_of(media)
        dialect = self.chat.dialect(True) if rows else None

        def one(row: int) -> T | None:
            talk = conversation(texts[row], shown[row], system=ROLE)
            for seed in range(TRIES):
                body = dialect.body(self.chat.model, talk, most, seed=seed) if dialect else {}
                try:
                    return self.chat.client.ask(body, lambda reply: read(words(reply)))
                except Unparsed as error:
                    log.warning("no valid answer from %s: %s", self.chat.model, error)
                except (BadRequest, Unanswered) as error:
                    log.warning("no answer from %s: %s", self.chat.model, error)
                    return None
            return None

        found = dict(zip(rows, self.chat.client.map(one, rows), strict=True))
        return [found.get(row) for row in range(len(media))]

    def chances(self, media: Media, asked: Sequence[Sequence[Asked]], distinct: bool) -> list[Tensor]:
        """Return probabilities among the tokens that the server lists; see `Speller`."""
        shown, rows = pictures_of(media)
        dialect = self.chat.dialect(True) if rows else None

        def one(place: tuple[int, int]) -> float:
            text, spellings = asked[place[0]][place[1]]
            talk = conversation(text, shown[place[0]], system=ROLE)
            body = dialect.first_token(self.chat.model, talk) if dialect else {}
            try:
                return self.chat.client.ask(body, lambda reply: listed(reply, spellings))
            except (BadRequest, Unanswered, Unparsed) as error:
                log.warning("no answer from %s: %s", self.chat.model, error)
                return math.nan

        places = [(row, k) for row in rows for k in range(len(asked[row]))]
        known = dict(zip(places, self.chat.client.map(one, places), strict=True))
        own = [[known.get((row, k), math.nan) for k in range(len(asked[row]))] for row in range(len(media))]
        return [torch.tensor(values, device=media.device) for values in own]


def listed(reply: Reply, spellings: Sequence[str]) -> float:
    """Return the probability that a server lists for the spellings of a word, each token once.

    Args:
        reply: with `tops`.
        spellings: of one answer; white space in front of a token does not matter.

    Raises:
        Unparsed: if the server lists no tokens.
    """
    if not reply.tops:
        raise Unparsed("no probabilities of tokens; take a server that gives them, such as vLLM")
    wanted = {form.strip() for form in spellings}
    return min(1.0, sum(math.exp(value) for token, value in reply.tops if token.strip(BLANKS) in wanted))


def attempt(read: Callable[[str], T], text: str) -> T | None:
    """Return what `read` makes of an answer; None, with a warning in the log, if it is not valid.

    Args:
        read: raises `Unparsed` for answers that are not valid.
        text: the answer.
    """
    try:
        return read(words(Reply(text)))
    except Unparsed as error:
        log.warning("no valid answer: %s", error)
        return None


def responder(name: str, *, device: Device = "cpu") -> LocalResponder | RemoteResponder:
    """Return a vision-language model by the name of a verifier.

    Args:
        name: "vqa:SOURCE" or "vqascore:SOURCE" with a model of transformers, or "critic:FILE" with a YAML file of a
            server.
        device: where a local model runs.

    Raises:
        ValueError: for a name of another kind, and as the model's loader.
    """
    kind, _, source = name.partition(":")
    if kind in ("vqa", "vqascore") and source:
        return LocalResponder(LocalModel(*load(source, device)), name=name)
    if kind == "critic" and source:
        from verifiers.vlm.critic_file import load_chat

        return RemoteResponder(load_chat(source), name=name)
    raise ValueError(f"{name!r} answers no questions; write vqascore:MODEL or critic:FILE.yaml")
