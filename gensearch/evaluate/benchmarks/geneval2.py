"""GenEval 2: atomic questions about compositional prompts, scored by Soft-TIFA (Kamath et al. 2025, arXiv:2512.16853).

Its data is CC BY-NC 4.0, so it is read from the user's path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gensearch.evaluate.bench import Benchmark
from gensearch.evaluate.benchmarks.asked import Asked
from gensearch.evaluate.benchmarks.subset import spread
from verifiers.types import Media, Scores
from verifiers.vlm.respond import Speller, responder
from verifiers.vlm.vqa import WORDS

WHERE = (
    "download geneval2_data.jsonl from https://github.com/facebookresearch/GenEval2 and give its path as --prompts-file"
)
JUDGE = "vqascore:Qwen/Qwen3-VL-8B-Instruct"  # that of the paper
SHORT = "{question} Answer in one word."
DIGITS = {word: str(n) for n, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven"))}
DIGITS |= {word: str(n) for n, word in enumerate(("eight", "nine", "ten", "eleven", "twelve"), 8)}


class Item(NamedTuple):
    """One prompt.

    Attributes:
        prompt: given to the generator.
        atoms: its atomicity.
        asked: question and right answer, one or more.
        skills: what each question is about.
    """

    prompt: str
    atoms: int
    asked: tuple[tuple[str, str], ...]
    skills: tuple[str, ...]


class GenEval2(Asked[Speller, Item]):
    """Soft-TIFA GM, the geometric mean of the probabilities of the right answers, in [0, 1].

    `Scores.parts` holds `am`, the arithmetic mean, and the probability of each answer as `q1`, `q2` and so on. A
    picture with a question that was not answered is unscored.

    Args:
        model: returns the model that is asked; called when the first picture is scored.
        items: the prompts.
        upstream: count each spelling of a number by its first token, also if two share it, as the authors' code does;
            otherwise each token once.
    """

    name = "geneval2"
    data = "the data of GenEval 2"

    def __init__(self, model: Callable[[], Speller], items: Sequence[Item], *, upstream: bool = True) -> None:
        super().__init__(model, {item.prompt: item for item in items})
        self.upstream = upstream

    def scored(self, model: Speller, media: Media, items: Sequence[Item]) -> Scores:
        """Return the scores of pictures; arguments as in `Asked`."""
        asked = [[(SHORT.replace("{question}", q), spellings(q, answer)) for q, answer in item.asked] for item in items]
        rows = [row.double().tolist() for row in model.chances(media, asked, not self.upstream)]
        most = max((len(row) for row in rows), default=0)
        parts = {"am": torch.tensor([arithmetic(row) for row in rows])}
        parts |= {
            f"q{k + 1}": torch.tensor([row[k] if k < len(row) else math.nan for row in rows]) for k in range(most)
        }
        total = torch.tensor([geometric(row) for row in rows])
        return Scores(total.to(media.device), {name: part.to(media.device) for name, part in parts.items()})


def spellings(question: str, answer: str) -> tuple[str, ...]:
    """Return the spellings of an answer that count.

    Args:
        question: one that begins with "How many" has a number as answer.
        answer: the right one, such as "four" or "Yes".
    """
    word = answer.strip().lower()
    if question.lower().startswith("how many"):
        forms = (word, word.capitalize(), DIGITS.get(word, word))
        return tuple(lead + form for form in forms for lead in ("", " "))
    return WORDS.get(word, (word.capitalize(), word, f" {word.capitalize()}", f" {word}"))


def arithmetic(chances: Sequence[float]) -> float:
    """Return Soft-TIFA AM, the mean of probabilities.

    Args:
        chances: in [0, 1], one or more; NaN gives NaN.
    """
    return math.fsum(chances) / len(chances)


def geometric(chances: Sequence[float]) -> float:
    """Return Soft-TIFA GM, the geometric mean of probabilities; 0 if one of them is.

    Args:
        chances: in [0, 1], one or more; NaN gives NaN.
    """
    if any(math.isnan(p) for p in chances):
        return math.nan
    return math.exp(math.fsum(map(math.log, chances)) / len(chances)) if all(p > 0 for p in chances) else 0.0


def load(path: Path) -> list[Item]:
    """Read the prompts.

    Args:
        path: of geneval2_data.jsonl: `prompt`, `atom_count`, `vqa_list` and `skills` in each line.

    Raises:
        ValueError: for a missing file and for a line of another form.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; {WHERE}")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            asked = tuple((str(question), str(answer)) for question, answer in row["vqa_list"])
            item = Item(str(row["prompt"]), int(row["atom_count"]), asked, tuple(map(str, row["skills"])))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: {type(error).__name__} {error}; {WHERE}") from None
        if not item.asked or len(item.asked) != len(item.skills):
            raise ValueError(f"{path}, line {number}: {len(asked)} questions and {len(item.skills)} skills; {WHERE}")
        found.append(item)
    return found


def lines(path: Path, per_tag: int) -> list[Mapping[str, Any]]:
    """Return at most so many prompts of each atomicity, spread over the file.

    Args:
        path: of the data.
        per_tag: 1 or more; 100 for all of them.

    Raises:
        ValueError: as `load`.
    """
    return spread([{"tag": f"atoms {item.atoms}", "prompt": item.prompt} for item in load(path)], per_tag)


def summary(path: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return Soft-TIFA in percent: GM and AM over prompts, GM by atomicity, and AM by skill over questions.

    Args:
        path: of the data.
        records: of one method.
    """
    items = {item.prompt: item for item in load(path)}
    scored = [record for record in records if record["judge"] is not None]
    found = {"gm": [record["judge"] for record in scored], "am": [record["parts"]["am"] for record in scored]}
    by_atoms: dict[int, list[float]] = {}
    by_skill: dict[str, list[float]] = {}
    for record in scored:
        item = items[record["text"]]
        by_atoms.setdefault(item.atoms, []).append(record["judge"])
        for k, skill in enumerate(item.skills, 1):
            by_skill.setdefault(skill, []).append(record["parts"][f"q{k}"])
    found |= {f"gm, atoms {atoms}": by_atoms[atoms] for atoms in sorted(by_atoms)}
    found |= {f"am, {skill}": by_skill[skill] for skill in sorted(by_skill)}
    unscored = len(records) - len(scored)
    means = {name: 100 * arithmetic(values) for name, values in found.items() if values}
    return means | ({"unscored": float(unscored)} if unscored else {})


def pictures(path: Path, file: Path) -> dict[str, Path]:
    """Return prompt -> picture, from the JSON file that the authors' script reads.

    Args:
        path: of the data.
        file: JSON object of prompt and path, relative to its folder.

    Raises:
        ValueError: for prompts that are missing or not of the benchmark.
    """
    found = {str(prompt): file.parent / place for prompt, place in json.loads(file.read_text(encoding="utf-8")).items()}
    known = [item.prompt for item in load(path)]
    if wrong := [prompt for prompt in found if prompt not in known] + [p for p in known if p not in found]:
        raise ValueError(
            f"{file} and {path} differ in {len(wrong)} prompts, the first is {wrong[0][:80]!r}; correct it"
        )
    return found


def judge(path: Path, model: str, upstream: bool) -> GenEval2:
    """Build the judge; the model is loaded when the first picture is scored.

    Args:
        path: of the data.
        model: as for `verifiers.vlm.respond.responder`.
        upstream: as for the class.

    Raises:
        ValueError: as `load`.
    """
    return GenEval2(partial(responder, model), load(path), upstream=upstream)


def benchmark(path: Path, model: str = JUDGE, upstream: bool = True) -> Benchmark:
    """Return the benchmark.

    Args:
        path: of the data.
        model: that judges, as for `verifiers.vlm.respond.responder`.
        upstream: as for the class.
    """
    oracles = frozenset({GenEval2.name, model})
    make = partial(judge, path, model, upstream)
    title = f"geneval2{'' if upstream else '_fixed'} by {model}"
    return Benchmark(title, partial(lines, path), make, oracles, summary=partial(summary, path))
