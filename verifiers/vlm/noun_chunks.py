"""Base noun phrases of an English prompt by word lists, for questions about each of them."""

from __future__ import annotations

import re
from pathlib import Path

from verifiers.yaml import parse_yaml

WORDS = {  # role -> words
    role: frozenset(str(text).split())
    for role, text in parse_yaml(Path(__file__).with_suffix(".yaml").read_text("utf-8"), "noun_chunks.yaml").items()
}
DETERMINERS, PRONOUNS, ADJECTIVES = WORDS["determiners"], WORDS["pronouns"], WORDS["adjectives"]
OTHERS, VERBS = WORDS["others"], WORDS["verbs"]
ATTRIBUTES = (ADJECTIVES - WORDS["materials"]) | WORDS["attributes"]
MARKS = '.,;:!?()"'
WORD = re.compile(r"[A-Za-z0-9][\w'’:-]*|[.,;:!?()\"]")


def noun_chunks(text: str) -> tuple[str, ...]:
    """Return the base noun phrases of a text in their order, with determiners and in lower case.

    A phrase begins with a determiner or any word that is no verb, preposition, conjunction or adverb of the lists
    here, and ends before the next such word. Adjectives that a comma or "and" joins stay in one phrase.

    Source: the role of spaCy's `noun_chunks` in T2I-CompBench (Huang et al. 2023, arXiv:2307.06350), without a tagger.

    Args:
        text: a prompt.
    """
    words = [word.lower() for word in WORD.findall(text)]
    found: list[list[str]] = []
    phrase: list[str] = []
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else "."
        if word in PRONOUNS:
            found += [phrase, [word]]
            phrase = []
        elif word in DETERMINERS and not (phrase and phrase[-1] in DETERMINERS):
            found.append(phrase)
            phrase = [word]
        elif joins(word, after, phrase):
            phrase.append(word)
        elif word in OTHERS or word in MARKS or (word in VERBS and not modifies(phrase)):
            found.append(phrase)
            phrase = []
        else:
            phrase.append(word)
    return tuple(tidy(part) for part in [*found, phrase] if any(word not in DETERMINERS for word in part))


def joins(word: str, after: str, phrase: list[str]) -> bool:
    """Return whether "and" or a comma stands between two attributes of one noun.

    Args:
        word: in lower case, or a mark.
        after: the next word or mark.
        phrase: the words of the phrase so far.
    """
    own = [part for part in phrase if part not in DETERMINERS]
    if word not in (",", "and") or not own:
        return False
    if word == "," and len(phrase) == 2 and len(own) == 1 and after not in DETERMINERS | PRONOUNS | OTHERS:
        return True
    return after in ADJECTIVES and all(part in ADJECTIVES or part in (",", "and") for part in own)


def modifies(phrase: list[str]) -> bool:
    """Return whether a form of a verb is part of a phrase, such as "baked" in "the baked bread".

    Args:
        phrase: the words of the phrase so far.
    """
    return bool(phrase) and (phrase[-1] in DETERMINERS or phrase[-1] in ADJECTIVES or phrase[-1] == ",")


def tidy(phrase: list[str]) -> str:
    """Return the words of a phrase as text.

    Args:
        phrase: words and commas.
    """
    return " ".join(phrase).replace(" ,", ",")
