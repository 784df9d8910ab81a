"""DPG-Bench: dense prompts with questions that depend on each other (Hu et al. 2024, arXiv:2403.05135).

The questions are read from the user's dpg_bench.csv. mPLUG is replaced by any model that answers yes or no.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.asked import Asked
from gensearch.evaluate.benchmarks.subset import spread
from gensearch.registry import verifier
from verifiers.types import Media, Scores
from verifiers.vlm.decompose import Answerer

WHERE = "download dpg_bench.csv from https://github.com/TencentQQGYLab/ELLA and give its path as --prompts-file"
JUDGE = "vqa:Qwen/Qwen3-VL-8B-Instruct"
PER_PROMPT = 4  # pictures, in one file of 2 x 2
HALF = math.log(0.5)


class Item(NamedTuple):
    """One prompt.

    Attributes:
        name: its item_id, which names its picture.
        prompt: given to the generator.
        questions: number of a question -> the question, in the order of the file.
        parents: number -> numbers of the questions that it depends on.
        categories: number -> category, such as "entity - whole".
    """

    name: str
    prompt: str
    questions: dict[int, str]
    parents: dict[int, tuple[int, ...]]
    categories: dict[int, str]


class DPG(Asked[Answerer, Item]):
    """The share of questions whose answer is yes, after those that depend on a no count as no, in [0, 1].

    `Scores.parts` holds each answer before that rule, 1 or 0, by the number of its question. A picture with a question
    that was not answered is unscored.

    Args:
        model: returns the model that answers; called when the first picture is scored.
        items: the prompts.
    """

    name = "dpg"
    data = "the data of DPG-Bench"

    def __init__(self, model: Callable[[], Answerer], items: Sequence[Item]) -> None:
        super().__init__(model, {item.prompt: item for item in items})

    def scored(self, model: Answerer, media: Media, items: Sequence[Item]) -> Scores:
        """Return the scores of pictures; arguments as in `Asked`."""
        logs = model.answer(media, [tuple(item.questions.values()) for item in items])
        said = [
            {n: math.nan if math.isnan(log) else float(log > HALF) for n, log in zip(item.questions, row, strict=True)}
            for item, row in zip(items, (row.tolist() for row in logs), strict=True)
        ]
        numbers = sorted({n for own in said for n in own})
        parts = {str(n): torch.tensor([own.get(n, math.nan) for own in said], device=media.device) for n in numbers}
        total = [score(own, item.parents) for own, item in zip(said, items, strict=True)]
        return Scores(torch.tensor(total, device=media.device), parts)


def score(answers: Mapping[int, float], parents: Mapping[int, Sequence[int]]) -> float:
    """Return the mean answer, where an answer counts 0 if one that it depends on is 0, itself or by this rule.

    Args:
        answers: number of a question -> 1 for yes, 0 for no, in the order in which the rule is applied.
        parents: number -> numbers of the questions that it depends on; 0 for none.
    """
    kept = dict(answers)
    for number in kept:
        if any(kept[parent] == 0 for parent in parents[number] if parent):
            kept[number] = 0.0 * kept[number]
    return math.fsum(kept.values()) / len(kept)


def load(path: Path, upstream: bool = True) -> list[Item]:
    """Read the prompts.

    Args:
        path: of dpg_bench.csv.
        upstream: leave out the first row, as the authors' loader does, and with it a prompt whose other questions
            depend on it, since their code skips its pictures.

    Raises:
        ValueError: for a missing file, for a row of another form, and for a question that depends on another prompt.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; {WHERE}")
    items: dict[str, Item] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                item = items.setdefault(row["item_id"], Item(row["item_id"], row["text"], {}, {}, {}))
                n = int(row["proposition_id"])
                item.questions[n] = row["question_natural_language"].strip()
                item.parents[n] = tuple(int(parent) for parent in row["dependency"].split(","))
                item.categories[n] = row["tuple"].partition("(")[0].strip()
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {number}: {type(error).__name__} {error}; {WHERE}") from None
    found = list(items.values())
    for item in found:
        if lost := {p for own in item.parents.values() for p in own if p} - item.questions.keys():
            raise ValueError(f"{path}: {item.name} depends on question {min(lost)}, which it has not; {WHERE}")
    return without_first_row(found) if upstream else found


def without_first_row(items: Sequence[Item]) -> list[Item]:
    """Return prompts as the authors' loader reads them: the first question is lost, and all that depends on it fails.

    Args:
        items: in the order of the file.
    """
    if not items:
        return []
    first = items[0]
    lost = next(iter(first.questions))
    rest = [{n: own[n] for n in own if n != lost} for own in (first.questions, first.parents, first.categories)]
    fails = not rest[0] or any(lost in own for own in rest[1].values())
    return [*([] if fails else [Item(first.name, first.prompt, *rest)]), *items[1:]]  # type: ignore[arg-type]


def lines(path: Path, upstream: bool, per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many prompts, spread over the file; all have one tag.

    Args:
        path: of the data.
        upstream: as for `load`.
        per_tag: 1 or more; 1065 for all of them.

    Raises:
        ValueError: as `load`.
    """
    found = load(path, upstream)
    return spread([{"tag": "dpg", "prompt": item.prompt, "file": f"{item.name}.png"} for item in found], per_tag)


def summary(path: Path, upstream: bool, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the score in percent, and the means of answers by category, before the rule of dependencies.

    Args:
        path: of the data.
        upstream: categories from the last picture of each prompt only, as in the authors' code.
        records: of one method.
    """
    items = {item.prompt: item for item in load(path, upstream)}
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted((r for r in records if r["judge"] is not None), key=lambda r: r["seed"]):
        by_prompt.setdefault(record["text"], []).append(record)
    means = [math.fsum(r["judge"] for r in own) / len(own) for own in by_prompt.values()]
    broad: dict[str, list[float]] = {}
    narrow: dict[str, list[float]] = {}
    for prompt, own in by_prompt.items():
        for record in own[-1:] if upstream else own:
            for number, category in items[prompt].categories.items():
                value = record["parts"][str(number)]
                narrow.setdefault(category, []).append(value)
                broad.setdefault(category.partition("-")[0].strip(), []).append(value)
    found = {"dpg": means, **dict(sorted(broad.items())), **dict(sorted(narrow.items()))}
    shown = {name: 100 * math.fsum(values) / len(values) for name, values in found.items() if values}
    unscored = sum(record["judge"] is None for record in records)
    return shown | ({"unscored": float(unscored)} if unscored else {})


def tile(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return four pictures as one, row by row, as the authors' script reads them.

    Args:
        pictures: four of one size, uint8 [h, w, 3].

    Raises:
        ValueError: for another number, and for different sizes.
    """
    if len(pictures) != PER_PROMPT or len({picture.shape for picture in pictures}) != 1:
        raise ValueError(f"a file of DPG-Bench holds four pictures of one size, not {len(pictures)}; generate four")
    top, bottom = (np.concatenate(pictures[i : i + 2], 1) for i in (0, 2))
    return np.concatenate([top, bottom])


def untile(picture: np.ndarray) -> list[np.ndarray]:
    """Return the four pictures of a file, row by row.

    Args:
        picture: uint8 [2h, 2w, 3].

    Raises:
        ValueError: for odd sides.
    """
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"a picture of {width} x {height} pixels is no 2 x 2 grid; its sides must be even")
    return [half for rows in np.split(picture, 2) for half in np.split(rows, 2, 1)]


def judge(path: Path, model: str, upstream: bool) -> DPG:
    """Build the judge; the model is loaded when the first picture is scored.

    Args:
        path: of the data.
        model: name of a verifier that answers questions, such as "vqa:SOURCE" or "critic:FILE".
        upstream: as for `load`.

    Raises:
        ValueError: as `load`.
    """
    return DPG(partial(answerer, model), load(path, upstream))


def answerer(name: str) -> Answerer:
    """Return a model that answers questions.

    Args:
        name: of a verifier.

    Raises:
        ValueError: for one that answers none.
    """
    found = verifier(name)
    found = getattr(found, "judge", found)  # of questions that are split by rules
    if not hasattr(found, "answer"):
        raise ValueError(f"{name!r} answers no questions; write vqa:MODEL or critic:FILE.yaml")
    return found  # type: ignore[return-value]


def benchmark(path: Path, model: str = JUDGE, upstream: bool = True) -> Benchmark:
    """Return the benchmark.

    Args:
        path: of the data.
        model: as for `judge`.
        upstream: as for `load` and `summary`.
    """
    make, known = partial(judge, path, model, upstream), frozenset({DPG.name, model})
    total = partial(summary, path, upstream)
    title = f"dpg{'' if upstream else '_fixed'} by {model}"
    return Benchmark(title, partial(lines, path, upstream), make, known, per_prompt=PER_PROMPT, summary=total)
