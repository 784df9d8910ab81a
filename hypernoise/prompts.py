"""Prompts for training and validation, never those of a benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from gensearch.core.noise import derive
from gensearch.shapes import world


def fingerprint(prompt: str) -> str:
    """Return twelve hexadecimal digits that do not depend on case, spaces and full stops.

    Args:
        prompt: any text.
    """
    words = " ".join(prompt.casefold().replace(".", " ").split())
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def benchmark_of(prompt: str) -> str | None:
    """Return the benchmark that a prompt belongs to, GenEval, T2I-CompBench or GenEval-Shapes; None for others.

    Args:
        prompt: any text; case, spaces and full stops do not matter.
    """
    return known().get(fingerprint(prompt))


@cache
def known() -> dict[str, str]:
    """Return the benchmarks by the fingerprints of their prompts."""
    text = (files("hypernoise") / "benchmarks.txt").read_text(encoding="utf-8")
    listed = [line.split() for line in text.splitlines() if not line.startswith("#")]
    own = world.benchmark(10**6) + [line for line in world.lines() if world.asks_held_out(line)]
    return {digits: name for name, digits in listed} | {fingerprint(line["prompt"]): "GenEval-Shapes" for line in own}


def read_prompts(source: str) -> list[str]:
    """Return distinct prompts.

    Args:
        source: "shapes" for prompts of the Shapes world, or the path of a text file with one prompt per line.

    Raises:
        ValueError: for a file that is missing or empty, or holds a prompt of a benchmark.
    """
    if source == "shapes":
        return shapes()
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(f"no file of prompts is called {source!r}; give a text file with one per line, or 'shapes'")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = list(dict.fromkeys(line for line in lines if line))
    if not prompts:
        raise ValueError(f"{path} holds no prompts; write one per line")
    refuse_benchmarks(prompts, str(path))
    return prompts


def refuse_benchmarks(prompts: Sequence[str], where: str) -> None:
    """Refuse prompts of benchmarks.

    Args:
        prompts: any number of them.
        where: what holds them, for the error message.

    Raises:
        ValueError: if some of the prompts belong to a benchmark.
    """
    theirs = [(prompt, name) for prompt in prompts if (name := benchmark_of(prompt))]
    if theirs:
        prompt, name = theirs[0]
        raise ValueError(
            f"{where} holds {len(theirs)} prompts of benchmarks, the first is {prompt!r} of {name}; remove them: "
            "a benchmark cannot measure what is trained on its prompts"
        )


def shapes(per_tag: int = 200) -> list[str]:
    """Return prompts of the Shapes world outside its benchmark.

    All prompts of single objects and of counts are benchmark prompts, since they have no combination to hold out.

    Args:
        per_tag: most prompts of each tag.
    """
    tags: dict[str, list[str]] = {}
    for line in world.lines():
        if benchmark_of(line["prompt"]) is None:
            tags.setdefault(line["tag"], []).append(line["prompt"])
    rng = np.random.default_rng(31)
    return [prompt for found in tags.values() for prompt in rng.permutation(found)[:per_tag].tolist()]


def split(prompts: Sequence[str], validation: int) -> tuple[list[str], list[str]]:
    """Split prompts for training and validation, by a hash of their text: a longer list keeps the choice stable.

    Args:
        prompts: distinct prompts.
        validation: prompts for validation, at least 0.

    Returns:
        Prompts for training in their order, and prompts for validation.

    Raises:
        ValueError: if no prompt is left for training.
    """
    if validation >= len(prompts):
        raise ValueError(f"{validation} of {len(prompts)} prompts for validation leave none to train on; take fewer")
    order = sorted(prompts, key=lambda prompt: derive("validation", prompt))
    held = set(order[:validation])
    return [prompt for prompt in prompts if prompt not in held], order[:validation]
