"""Checks before anything is spent: prompts, seeds and budgets out of range."""

from __future__ import annotations

import unicodedata
from numbers import Integral, Real

MAX_PROMPT = 2000  # characters; longer text is a mistake or an attack, no text encoder reads it
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control, surrogate, line and paragraph separator
MAX_CONFIG_BYTES = 100_000
MAX_COMPUTE = 1_000_000
MAX_THREADS = 256
CONTROLS = frozenset({"unguided"})  # searches that ignore scores, so that no verifier may select either
MAX_SEED = 2**53 - 1  # exact in JSON and in JavaScript


def check(prompt: str, seed: int, compute: float | None) -> None:
    """Refuse arguments of a search that are out of range.

    Args:
        prompt: 1 to 2000 printable characters.
        seed: 0 to 2^53 - 1.
        compute: Budget in multiples of one sample's cost, 1 or more and finite, or None.

    Raises:
        ValueError: One of them is out of range; the message names the value, the rule and the next step.
    """
    check_prompt(prompt)
    if not isinstance(seed, Integral) or isinstance(seed, bool):  # NumPy's integers are such
        raise ValueError(f"the seed is {called(seed)}; give an integer from 0 to 2^53 - 1")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed} is out of range; take an integer from 0 to 2^53 - 1")
    number = isinstance(compute, Real) and not isinstance(compute, bool)
    if compute is not None and not (number and 1 <= compute < float("inf")):
        raise ValueError(f"compute {compute!r} cannot be: one sample costs 1, so give a finite number from 1 up")


def check_prompt(prompt: str, name: str = "the prompt") -> None:
    """Refuse a prompt that no model can use.

    Args:
        prompt: 1 to 2000 printable characters.
        name: What the message calls it.

    Raises:
        ValueError: It is no text, empty, too long or holds control characters.
    """
    if not isinstance(prompt, str):
        many = isinstance(prompt, list | tuple)
        step = "search for one prompt at a time, in a loop" if many else "say in words what the picture should show"
        raise ValueError(f"{name} is {called(prompt)}, and a search takes one text; {step}")
    if not prompt.strip():
        raise ValueError(f"{name} is empty; say what the picture should show")
    if len(prompt) > MAX_PROMPT:
        raise ValueError(f"{name} has {len(prompt)} characters; the longest allowed is {MAX_PROMPT}. Shorten it")
    check_characters(prompt)


def called(value: object) -> str:
    """A value of a wrong type, in words.

    Args:
        value: Anything.
    """
    if value is None:
        return "None"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    kind = type(value).__name__
    return f"{text if len(text) <= 40 else text[:40] + '...'}, {'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def check_characters(prompt: str) -> None:
    """Refuse control characters; joiners and wide spaces are allowed, since some scripts use them.

    Args:
        prompt: Any text.

    Raises:
        ValueError: It holds a control character.
    """
    for place, character in enumerate(prompt):
        if unicodedata.category(character) in UNPRINTABLE:
            raise ValueError(f"the prompt holds the control character {character!r} at position {place}; remove it")


def refuse_selector(select: str, search: str) -> None:
    """Refuse a selector for a search that is a control, which must not depend on scores.

    Args:
        select: The name of the verifier that selects.
        search: The name of the search.

    Raises:
        ValueError: The search is a control.
    """
    if search in CONTROLS:
        raise ValueError(f"{select!r} would pick the winner, and {search} would be no control; leave out select")
