"""The prompts of T2I-CompBench, and its layout of pictures (Huang et al. 2023, arXiv:2307.06350; MIT licence)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gensearch.evaluate.benchmarks.subset import spread

DATA = Path(__file__).parent / "data" / "t2i_compbench"
CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
COMPLEX = ("complex_spatial", "complex_action", "complex_spatialaction")  # what complex prompts are about
PER_PROMPT = 10


class Sample(NamedTuple):
    """A picture in the authors' layout.

    Attributes:
        prompt: in its file name.
        number: the six digits of its file name.
        path: of the file.
    """

    prompt: str
    number: int
    path: Path


def read(name: str) -> tuple[str, ...]:
    """Return the lines of a shipped file that are not empty.

    Args:
        name: of the file.
    """
    text = (DATA / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


@cache
def kinds() -> dict[str, str]:
    """Return prompt -> category, or one of `COMPLEX`, in the order of the files."""
    found = {prompt: tag for tag in CATEGORIES[:-1] for prompt in read(f"{tag}_val.txt")}
    parts = {p: kind for kind in COMPLEX for p in read(f"complex_val_{kind.removeprefix('complex_')}.txt")}
    return found | {prompt: parts[prompt] for prompt in read("complex_val.txt")}


def kind_of(prompt: str) -> str:
    """Return the category of a prompt, or what a complex one is about, one of `COMPLEX`.

    Args:
        prompt: of the benchmark.

    Raises:
        ValueError: for another prompt.
    """
    if prompt not in kinds():
        raise ValueError(f"T2I-CompBench has no prompt {prompt[:80]!r}; take those of its validation files")
    return kinds()[prompt]


@cache
def table(path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return prompt -> noun chunks of the prompts that are judged by questions.

    Args:
        path: of a JSON object with one list for each prompt; None for the table that is shipped.

    Raises:
        ValueError: for another file, and for one that lacks a prompt.
    """
    file = path or DATA / "noun_chunks.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = {prompt: tuple(map(str, chunks)) for prompt, chunks in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no table of noun chunks ({error}); write a JSON object PROMPT: [CHUNK]") from None
    asked = [prompt for prompt, kind in kinds().items() if kind in ("color", "shape", "texture", *COMPLEX)]
    if missing := [prompt for prompt in asked if prompt not in found]:
        raise ValueError(f"{file} lacks {len(missing)} prompts, the first is {missing[0]!r}; add them")
    return found


@cache
def plurals() -> dict[str, str]:
    """Return plural -> singular of the objects that prompts count."""
    pairs = (line.split(" - ") for line in read("new_objects.txt"))
    return {plural.strip(): single.strip() for single, plural in pairs}


def lines(per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many prompts of each category, spread over its file.

    Args:
        per_tag: 1 or more; 300 for all of them.
    """
    numbers: dict[str, int] = {}
    found = []
    for prompt, kind in kinds().items():
        tag = "complex" if kind.startswith("complex") else kind
        place = numbers[tag] = numbers.get(tag, -1) + 1
        found.append({"tag": tag, "prompt": prompt, "place": place})
    return spread(found, per_tag)


def file_of(prompt: str, number: int, place: int, per_prompt: int = PER_PROMPT) -> str:
    """Return the path of a picture in the authors' layout: CATEGORY/samples/PROMPT_NNNNNN.png.

    Args:
        prompt: of the benchmark.
        number: of the picture among those of its prompt, from 0.
        place: of the prompt in the file of its category, from 0.
        per_prompt: pictures of each prompt.

    Raises:
        ValueError: for a number that is not below `per_prompt`.
    """
    if not 0 <= number < per_prompt:
        raise ValueError(f"picture {number} of {prompt[:60]!r} is not among {per_prompt} per prompt; count from 0")
    tag = "complex" if kind_of(prompt).startswith("complex") else kind_of(prompt)
    return f"{tag}/samples/{prompt}_{place * per_prompt + number:06}.png"


def samples(folder: Path) -> list[Sample]:
    """Return the pictures of a folder in the authors' layout, by their numbers.

    Args:
        folder: that holds `samples`, or is it.

    Raises:
        ValueError: for a folder without such pictures.
    """
    inner = folder / "samples" if (folder / "samples").is_dir() else folder
    named = [(re.fullmatch(r"([^_]+)_(\d{6})\.png", path.name), path) for path in inner.glob("*.png")]
    found = [Sample(match[1], int(match[2]), path) for match, path in named if match]
    if not found:
        raise ValueError(f"{inner} holds no pictures; T2I-CompBench names them samples/PROMPT_000000.png")
    return sorted(found, key=lambda sample: sample.number)
