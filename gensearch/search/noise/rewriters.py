"""What rewrites a prompt once it is known what its pictures lack: a rule for prompts of two objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from verifiers.vlm.decompose import facts, sentence

INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}


class Rewriter(Protocol):
    """Rewrites a prompt so that a generator attends to what its picture lacked; a function will do."""

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


REWRITERS: dict[str, Callable[[], Rewriter]] = {"emphasis": lambda: emphasis}


def rewriter(given: str | Callable[..., str]) -> Rewriter:
    """A rewriter by its name, or the function itself.

    Args:
        given: "emphasis", or a function.

    Raises:
        ValueError: There is no such rewriter.
    """
    if callable(given):
        return given
    if given not in REWRITERS:
        raise ValueError(f"no rewriter is called {given!r}; take {' or '.join(map(repr, REWRITERS))}, or give a function")
    return REWRITERS[given]()
