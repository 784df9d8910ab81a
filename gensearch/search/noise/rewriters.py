"""What rewrites a prompt once it is known what its picture lacks: a rule for prompts of two objects, or a model."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from gensearch.core.limits import check_prompt
from verifiers.calls import unquoted
from verifiers.vlm.decompose import facts, sentence

if TYPE_CHECKING:
    from verifiers.vlm.chat import Chat

log = logging.getLogger(__name__)

INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}


class Rewriter(Protocol):
    """Rewrites a prompt so that a generator attends to what its picture lacked; a function will do.

    One that costs something has `fee`, the most that one call can add to columns of the ledger, and `bill()`, what was
    spent since the last call of it.
    """

    def __call__(self, prompt: str, current: str, failed: Sequence[str]) -> str:
        """Return a prompt of the same meaning; `current` if there is nothing new to try.

        Args:
            prompt: What the picture should show.
            current: What the picture was generated from.
            failed: Yes-or-no questions about the prompt that the picture fails, one or more.
        """
        ...


def emphasis(prompt: str, current: str, failed: Sequence[str]) -> str:
    """Name what failed first, and invert a relation with it: "a ring left of a star" -> "a star right of a ring".

    All facts stay: "a red star and a blue ring" becomes "a blue ring and a red star". If several objects fail, the last
    named comes first; a question about no single object concerns them all. Prompts of one kind of object, and those
    outside GenEval's grammar (`verifiers.vlm.decompose`), have no other wording.

    Args:
        prompt: What the picture should show.
        current: What the picture was generated from.
        failed: Yes-or-no questions that it fails.
    """
    read = sentence(current)
    if read is None:
        return current
    own = [facts(phrase) for phrase in read.phrases]
    about_all = bool(set(failed) - {question for questions in own for question in questions})
    last = max(place for place, questions in enumerate(own) if about_all or place == 0 or set(failed) & set(questions))
    if not last:
        return current
    words = [read.words[last], *read.words[:last], *read.words[last + 1 :]]
    if read.relation:
        *link, relation = read.relation.lower().removesuffix(" of").split()
        turned = " ".join([*link, INVERSE[relation]])
        return f"{read.lead}{words[0]} {turned}{' of' * read.relation.lower().endswith(' of')} {words[1]}"
    return read.lead + " and ".join(words)


class LanguageRewriter:
    """Lets a language model behind a server rewrite the prompt, given the last wording and of what failed.

    A call that fails, or whose answer is no prompt, keeps the current prompt. It is logged, and counted in `failures`
    by its reason.

    Args:
        chat: The model.
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.failures: Counter[str] = Counter()

    def __call__(self, prompt: str, current: str, failed: Sequence[str]) -> str:
        """Return another wording; as `Rewriter`."""
        from verifiers.vlm.language import rewrite

        try:
            text = rewrite(self.chat, prompt, " ".join(failed), current if current != prompt else "")
            check_prompt(text, "the rewritten prompt")
        except ValueError as error:
            self.failures[str(error)] += 1
            log.warning("the prompt stays as it is: %s", error)
            return current
        return text

    @property
    def fee(self) -> dict[str, int]:
        """The most that one call can cost: `critic_tokens` and `microdollars`, all tries included."""
        from verifiers.vlm.chat import TRIES
        from verifiers.vlm.language import MOST_WORDS

        read, written = TRIES * MOST_READ, TRIES * MOST_WORDS
        prices = self.chat.client.price
        return {
            "critic_tokens": read + written,
            "microdollars": math.ceil(read * prices[0] + written * prices[1]),
        }

    def bill(self) -> dict[str, int]:
        """Return what was spent since the last call: `critic_tokens` and `microdollars`."""
        return self.chat.client.bill()


MOST_READ = 2000  # tokens of a prompt, its last wording and the questions about it that a price reckons with


def rewriter(given: str | Callable[..., str]) -> Rewriter:
    """A rewriter by its name, or the function itself.

    Args:
        given: "emphasis", "critic:FILE.yaml" for the language model that the file of a critic names, or a function.

    Raises:
        ValueError: There is no such rewriter, or the file cannot be used.
    """
    if callable(given):
        return given
    if given == "emphasis":
        return emphasis
    kind, _, path = given.partition(":")
    if kind != "critic" or not path:
        raise ValueError(f"no rewriter is called {given!r}; take emphasis or critic:FILE.yaml, or give a function")
    from verifiers.vlm.critic_file import load_chat

    return LanguageRewriter(load_chat(unquoted(path)))
