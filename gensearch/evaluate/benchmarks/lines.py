"""Files of prompts: text, or JSONL with a rule for each prompt."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from verifiers.detect.lines import checked_line

RULES, QUESTIONS = "include", "questions"


@cache
def read(path: Path) -> tuple[dict[str, Any], ...]:
    """Return all lines of a file with `prompt` and `tag`; the tag is the file's name where there is nothing better.

    Args:
        path: Of a .txt file with one prompt a line, or a .jsonl file of objects with `prompt`, optionally `tag`, and
            optionally a rule: `include`, GenEval's clauses, or `questions`, pairs of a question and yes or no.

    Raises:
        ValueError: It cannot be read, has no prompts, a line is unfit, has not the rule that the first one has, or
            gives a prompt another rule than a line before.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path} ({error}); give a text file of prompts, or JSONL") from None
    found: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        line = parsed(text, where) if path.suffix == ".jsonl" else {"prompt": text.strip()}
        line = line if "tag" in line else {"tag": path.stem, **line}
        found.append(line)
        if rule_of(line) != rule_of(found[0]):
            has, first = rule_of(line) or "no rule", rule_of(found[0]) or "no rule"
            raise ValueError(f"{where}: it has {has}, the first prompt {first}; keep them in different files")
        if known.setdefault(line["prompt"], line) != line:
            raise ValueError(f"{where}: {line['prompt']!r} has another tag or rule than a line before; write it once")
    if not found:
        raise ValueError(f"{path} has no prompts; write one a line")
    return tuple(found)


def rule_of(line: Mapping[str, Any]) -> str | None:
    """Return the field that says how a prompt is judged; None without any.

    Args:
        line: Of a file of prompts.
    """
    return next((rule for rule in (RULES, QUESTIONS) if rule in line), None)


def parsed(text: str, where: str) -> dict[str, Any]:
    """Return one line of a JSONL file.

    Args:
        text: The line.
        where: File and line, for the error message.

    Raises:
        ValueError: It is no object with a prompt, or its rule is unfit.
    """
    try:
        line = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: it is not JSON ({error})") from None
    if isinstance(line, dict) and RULES in line:
        return checked_line(line, where)
    if not isinstance(line, dict) or not isinstance(line.get("prompt"), str) or not line["prompt"].strip():
        raise ValueError(f"{where}: there is no prompt; write a line as " + '{"prompt": "a photo of a cup"}')
    if not isinstance(line.get("tag", ""), str):
        raise ValueError(f"{where}: the tag is {line['tag']!r}; write a word")
    questions = line.get(QUESTIONS, [["", "yes"]])
    pairs = isinstance(questions, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in questions)
    if not pairs or not questions or not all(type(q) is str and a in ("yes", "no") for q, a in questions):
        raise ValueError(f"{where}: questions is {questions!r}; write it as " + '[["Is there a cup?", "yes"]]')
    return line


def first(lines: Sequence[dict[str, Any]], per_tag: int) -> list[dict[str, Any]]:
    """Return the first lines of each tag, in their order.

    Args:
        lines: Of a benchmark.
        per_tag: At most so many.
    """
    seen: Counter[str] = Counter()
    kept = []
    for line in lines:
        seen[line["tag"]] += 1
        kept += [line] if seen[line["tag"]] <= per_tag else []
    return kept


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Args:
        path: Of the file.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error}); give a text file of prompts, or JSONL") from None
