"""WISE: prompts that need knowledge of the world, judged by a vision-language model.

Niu et al. 2025, arXiv:2503.07265. Its data has no licence, so it is read from the user's path. Two editions share ids
but neither prompts nor scores: `verified` (April 2026, one score of 0 or 1) and `legacy` (the paper, three scores).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gensearch.evaluate.benchmarks.asked import Asked
from verifiers.types import Media, Scores
from verifiers.vlm.messages import quoted
from verifiers.vlm.respond import Writer
from verifiers.vlm.strict import Unparsed

WHERE = (
    "clone https://github.com/PKU-YuanGroup/WISE and give --prompts-file WISE/data_verified, or WISE/WISE_legacy/data "
    "for wise_legacy"
)
FIELDS = ("Prompt", "Explanation", "prompt_id")
ASPECTS = {"consistency": 0.7, "realism": 0.2, "aesthetic quality": 0.1}  # weights of the legacy score
MOST = 2000  # tokens of an answer
TASK = (
    "The picture was generated from a prompt that does not name what it means. The explanation says what a right "
    "picture shows.\nPrompt: {prompt}\nExplanation: {explanation}\n"
)
VERIFIED = (
    "Give 1 only if the picture shows what prompt and explanation ask for, every essential part of it, and its main "
    "subject can be recognised without guessing. Give 0 if something essential is missing, wrong or replaced by the "
    "words of the prompt taken literally, if the picture is too broken to tell, and in every case of doubt. Style and "
    "beauty do not matter.\nAnswer with one line:\nScore: 0 or 1"
)
LEGACY = (
    "Rate three aspects, strictly: 2 is rare, and in doubt the lower number holds.\n"
    "Consistency: 0 if the picture misses or contradicts what the explanation asks for, 1 if it shows part of it or "
    "with clear errors, 2 if it shows all of it exactly.\n"
    "Realism: 0 if objects, light or physics are impossible, 1 if they are plausible with visible faults, 2 if "
    "the picture could be real in its style.\n"
    "Aesthetic Quality: 0 if composition and colour are poor, 1 if they are ordinary, 2 if they are outstanding.\n"
    "Answer with exactly three lines:\nConsistency: 0, 1 or 2\nRealism: 0, 1 or 2\nAesthetic Quality: 0, 1 or 2"
)


class Edition(NamedTuple):
    """One version of the benchmark.

    Attributes:
        name: "verified" or "legacy".
        ends: category -> its last id; the first category begins at 1 and each next one after the one before.
        judge: the model that published scores are by.
    """

    name: str
    ends: Mapping[str, int]
    judge: str

    def category(self, number: int) -> str:
        """Return the category of an id.

        Args:
            number: 1 to 1000.

        Raises:
            ValueError: for another one.
        """
        if not 1 <= number <= 1000:
            raise ValueError(f"WISE has no id {number}; its ids are 1 to 1000")
        return next(name for name, end in self.ends.items() if number <= end)


SHARES = ("culture", "time", "space", "biology", "physics", "chemistry")
EDITIONS = {
    "verified": Edition("verified", dict(zip(SHARES, (400, 520, 640, 760, 880, 1000), strict=True)), "Qwen3.5-35B-A3B"),
    "legacy": Edition("legacy", dict(zip(SHARES, (400, 567, 700, 800, 900, 1000), strict=True)), "gpt-4o-2024-05-13"),
}


class Item(NamedTuple):
    """One prompt.

    Attributes:
        number: its id, 1 to 1000.
        prompt: given to the generator.
        explanation: what a right picture shows.
        category: of its id.
    """

    number: int
    prompt: str
    explanation: str
    category: str


class Wise(Asked[Writer, Item]):
    """A score in [0, 1] by a vision-language model that is asked with the explanation of a prompt.

    The verified edition has one score of 0 or 1. The legacy one is (0.7 consistency + 0.2 realism + 0.1 aesthetic
    quality) / 2, and `Scores.parts` holds the three. A picture without a valid answer after three tries is unscored.

    Args:
        model: returns the model that is asked; called when the first picture is scored.
        items: the prompts.
        edition: of the items.
    """

    files = "its files"

    def __init__(self, model: Callable[[], Writer], items: Sequence[Item], edition: Edition) -> None:
        super().__init__(model, {item.prompt: item for item in reversed(items)})
        self.name, self.data = f"wise-{edition.name}", f"WISE {edition.name}"
        self.edition = edition

    def scored(self, model: Writer, media: Media, items: Sequence[Item]) -> Scores:
        """Return the scores of pictures; arguments as in `Asked`."""
        texts = [request(item, self.edition) for item in items]
        read = read_score if self.edition.name == "verified" else read_aspects
        answers = model.write(media, texts, read, MOST)
        names = ("score",) if self.edition.name == "verified" else tuple(ASPECTS)
        empty = dict.fromkeys(names, math.nan)
        parts = {name: torch.tensor([(a or empty)[name] for a in answers], device=media.device) for name in names}
        return Scores(parts["score"] if len(names) == 1 else wiscore(*(parts[name] for name in names)), parts)


def request(item: Item, edition: Edition) -> str:
    """Return what the model is asked about a picture.

    Args:
        item: the prompt.
        edition: whose rubric is asked.
    """
    task = TASK.replace("{prompt}", quoted(item.prompt)).replace("{explanation}", quoted(item.explanation))
    return task + (VERIFIED if edition.name == "verified" else LEGACY)


def wiscore(consistency: Any, realism: Any, aesthetic: Any) -> Any:
    """Return the legacy score in [0, 1].

    Args:
        consistency: 0, 1 or 2.
        realism: 0, 1 or 2.
        aesthetic: 0, 1 or 2.
    """
    return (0.7 * consistency + 0.2 * realism + 0.1 * aesthetic) / 2


def read_score(text: str) -> dict[str, float]:
    """Return the score of an answer in the verified edition: "Score: 0", or exactly one line with a bare digit.

    Args:
        text: the answer.

    Raises:
        Unparsed: for another one.
    """
    named = numbers(text, "score")
    bare = re.findall(r"^\s*([01])\s*$", text, re.MULTILINE)
    found = named or (bare if len(bare) == 1 else [])
    if len(set(found)) != 1 or found[0] not in ("0", "1"):
        raise Unparsed(f"no line 'Score: 0' or 'Score: 1' in {text.strip()[:80]!r}")
    return {"score": float(found[0])}


def read_aspects(text: str) -> dict[str, float]:
    """Return the three scores of an answer in the legacy edition: by name, or as three bare lines.

    Args:
        text: the answer.

    Raises:
        Unparsed: for another one.
    """
    found = {name: set(numbers(text, name)) for name in ASPECTS}
    bare = re.findall(r"^\s*(\d)\s*$", text, re.MULTILINE)
    if not any(found.values()) and len(bare) == len(ASPECTS):
        found = {name: {digit} for name, digit in zip(ASPECTS, bare, strict=True)}
    if wrong := [name for name, digits in found.items() if len(digits) != 1 or not digits <= {"0", "1", "2"}]:
        raise Unparsed(f"no {' and no '.join(wrong)} from 0 to 2 in {text.strip()[:80]!r}")
    return {name: float(digits.pop()) for name, digits in found.items()}


def numbers(text: str, name: str) -> list[str]:
    """Return the whole numbers that follow a name, its asterisks and its colon.

    Args:
        text: an answer.
        name: in lower case.
    """
    return re.findall(rf"\b{name}\W*?[:：]?[\s*_]*(\d+(?:\.\d+)?)(?!\d)", text.lower())


def load(path: Path, edition: Edition) -> list[Item]:
    """Read the prompts of an edition, by their ids.

    Args:
        path: of a JSON file, or of a folder with them; merge.json and rewritten prompts in a folder are left out.
        edition: that the files should hold.

    Raises:
        ValueError: for missing or damaged files, ids that are there twice, and files of the other edition.
    """
    paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
    kept = [p for p in paths if len(paths) == 1 or not (p.stem.endswith("_rewrite") or p.stem == "merge")]
    if not kept or not kept[0].is_file():
        raise ValueError(f"{path} holds no prompts of WISE; {WHERE}")
    items: list[Item] = []
    for file in kept:
        rows = read_rows(file)
        refuse_mix_up(file, rows, edition)
        items += [Item(n, row["Prompt"], row["Explanation"], edition.category(n)) for n, row in rows.items()]
    if twice := {n for n, times in Counter(item.number for item in items).items() if times > 1}:
        raise ValueError(f"{path} holds id {min(twice)} twice; give the files of one edition")
    items.sort()
    if same := [prompt for prompt, times in Counter(item.prompt for item in items).items() if times > 1]:
        warnings.warn(f"{len(same)} prompts of {path} have several ids; the first explanation counts", stacklevel=2)
    return items


def read_rows(file: Path) -> dict[int, dict[str, Any]]:
    """Return id -> row of one file.

    Args:
        file: a JSON list of objects.

    Raises:
        ValueError: for a file of another form.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        found = {int(row["prompt_id"]): row for row in rows if all(isinstance(row[f], str | int) for f in FIELDS)}
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file} is no list of objects with {', '.join(FIELDS)} ({why}); {WHERE}") from None
    if len(found) < len(rows):
        raise ValueError(f"{file} holds {len(rows)} rows and {len(found)} ids; download it again")
    return found


def refuse_mix_up(file: Path, rows: Mapping[int, Mapping[str, Any]], edition: Edition) -> None:
    """Check that a file is of an edition: by the ends of its ids, and by the categories that its rows name.

    Args:
        file: for the error message.
        rows: id -> row.
        edition: that it should be of.

    Raises:
        ValueError: if it is of the other one.
    """
    other = next(own for own in EDITIONS.values() if own.name != edition.name)
    last = max(rows, default=0)
    agree = {own.name: 0 for own in EDITIONS.values()}
    for number, row in rows.items():
        words = f"{row.get('Category', '')} {row.get('Subcategory', '')}".lower()
        named = [name for name in SHARES if re.search(rf"\b{name.removesuffix('e')}", words)]
        if len(named) == 1:
            for own in (edition, other):
                agree[own.name] += own.category(number) == named[0]
    ends = last in other.ends.values() and last not in edition.ends.values()
    if ends or agree[other.name] > agree[edition.name]:
        raise ValueError(
            f"{file} has the ids of WISE {other.name}, and {edition.name} is asked for; scores of the two cannot be "
            f"mixed. Take wise_{other.name}, or give the files of {edition.name}"
        )
