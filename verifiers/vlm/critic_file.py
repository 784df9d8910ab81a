"""Critics from YAML files: where the server is, what it is asked, and what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from verifiers.calls import quoted
from verifiers.types import Verifier
from verifiers.vlm.cache import Cache, default_folder
from verifiers.vlm.chat import Chat
from verifiers.vlm.client import Client
from verifiers.vlm.critic import COMBINE, Critic, Field
from verifiers.vlm.decompose import Decomposed, decompose
from verifiers.vlm.language import MOST_QUESTIONS, split
from verifiers.yaml import parse_yaml

MOST_BYTES = 100_000
FIELDS = {"url", "model", "key", "concurrency", "timeout", "price", "picture_tokens", "cache"}
FIELDS |= {"rubric", "questions", "combine"}
SPLITS = ("rules", "model")  # ways to get the questions of a prompt, beside a list
MANY = 7  # questions that the rules find in a prompt of two objects: that they are there, colours, numbers, relation


def load(path: str, *, name: str = "") -> Verifier:
    """Build the critic that a file describes; the server is not asked yet.

    Args:
        path: of the YAML file.
        name: the verifier's name in logs and reports; `critic:PATH` if empty.

    Raises:
        ValueError: for a file that cannot be read, and for a field that is unknown, missing or unfit.
    """
    data = read(Path(path))
    if ("rubric" in data) == ("questions" in data):
        raise ValueError(f"{path} needs either rubric or questions, and not both; say what the critic is asked")
    chat = chat_of(path, data)
    called, size = name or f"critic:{quoted(path)}", int(number(path, data, "picture_tokens", 1500, least=0))
    how = data.get("combine", COMBINE[0] if "rubric" in data else "product")
    if "rubric" in data:
        if how not in COMBINE:
            raise ValueError(f"{path}: combine is {how!r}; a rubric has {', '.join(COMBINE)}")
        return Critic(chat, rubric(path, data["rubric"]), combine=how, name=called, picture_tokens=size)
    if how not in ("product", "geometric"):
        raise ValueError(f"{path}: combine is {how!r}; questions have product, geometric")
    ask, count = splitter(path, data["questions"], chat)
    critic = Critic(chat, name=called, questions=count, picture_tokens=size)
    critic.question = repr(data["questions"])
    return Decomposed(critic, split=ask, combine=how, name=called)


def load_chat(path: str) -> Chat:
    """Build the chat model that the file of a critic names, for work without pictures; the server is not asked yet.

    Args:
        path: of the YAML file; what it says of pictures is ignored.

    Raises:
        ValueError: as `load`.
    """
    return chat_of(path, read(Path(path)))


def chat_of(path: str, data: Mapping[str, Any]) -> Chat:
    """Return the chat model that a file describes.

    Args:
        path: of the file, for errors.
        data: what it holds.

    Raises:
        ValueError: for a field that is missing or unfit.
    """
    return Chat(client(path, data), text(path, data, "model"))


def read(path: Path) -> dict[Any, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: of the file.

    Raises:
        ValueError: if there is none, it is too long, or it is no YAML mapping, and for an unknown field.
    """
    try:
        size = path.stat().st_size
        data = parse_yaml(path.read_text(encoding="utf-8"), str(path)) if size <= MOST_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the critic {str(path)[:160]!r} ({error}); give a YAML file") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no mapping of at most {MOST_BYTES} bytes; write lines such as `model: NAME`")
    if unknown := [key for key in data if key not in FIELDS]:
        raise ValueError(f"{path} has the field {str(unknown[0])[:80]!r}; a critic has {', '.join(sorted(FIELDS))}")
    return data


def client(path: str, data: Mapping[str, Any]) -> Client:
    """Return the client that a file describes.

    Args:
        path: of the file, for errors.
        data: what it holds.

    Raises:
        ValueError: for a field that is missing or unfit.
    """
    variable = text(path, data, "key") if "key" in data else None
    if variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,80}", variable):
        raise ValueError(f"{path}: key must be the name of an environment variable, never the key itself; put it there")
    price = data.get("price", {})
    if not isinstance(price, dict) or not price.keys() <= {"input", "output"}:
        raise ValueError(f"{path}: price must be {{input: DOLLARS, output: DOLLARS}} per million tokens")
    kept = data.get("cache", True)
    if not isinstance(kept, bool | str):
        raise ValueError(f"{path}: cache is {kept!r}; give a folder, or false for none")
    folder = Path(kept).expanduser() if isinstance(kept, str) else default_folder() if kept else None
    return Client(
        text(path, data, "url"),
        key=variable,
        concurrency=int(number(path, data, "concurrency", 4, least=1, most=256)),
        timeout=number(path, data, "timeout", 120, least=0.1, most=3600),
        price=(number(path, price, "input", 0, least=0), number(path, price, "output", 0, least=0)),
        cache=Cache(folder),
    )


def rubric(path: str, data: Any) -> list[Field]:
    """Return the fields of a rubric.

    Args:
        path: of the file, for errors.
        data: a list of mappings with name and question, and perhaps range and weight.

    Raises:
        ValueError: for a list of another form, names that are there twice, and ranges and weights that cannot be.
    """
    if not isinstance(data, list) or not 1 <= len(data) <= 20 or not all(isinstance(line, dict) for line in data):
        raise ValueError(f"{path}: rubric must be a list of 1 to 20 fields, each with name and question")
    found: list[Field] = []
    for line in data:
        if unknown := [key for key in line if key not in {"name", "question", "range", "weight"}]:
            raise ValueError(
                f"{path}: a rubric field has no {str(unknown[0])[:80]!r}; it has name, question, range, weight"
            )
        name, question = text(path, line, "name"), text(path, line, "question")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or name == "id" or name in [f.name for f in found]:
            raise ValueError(f"{path}: {name!r} is no new lower-case word such as `alignment`; rename the field")
        ends = line.get("range", [0, 10])
        if not isinstance(ends, list) or len(ends) != 2 or not all(map(finite, ends)) or ends[0] >= ends[1]:
            raise ValueError(f"{path}: the range of {name} is {ends!r}; give [WORST, BEST], two rising numbers")
        weight = number(path, line, "weight", 1, least=1e-6, most=1e6)
        found.append(Field(name, question, float(ends[0]), float(ends[1]), weight))
    return found


def splitter(path: str, data: Any, chat: Chat) -> tuple[Any, int]:
    """Return what turns a prompt into questions, and how many a price reckons with.

    Args:
        path: of the file, for errors.
        data: "rules", "model", or a list of questions in which {prompt} is replaced.
        chat: splits prompts for "model".

    Raises:
        ValueError: for anything else.
    """
    if data == "rules":
        return decompose, MANY
    if data == "model":
        return partial(split, chat), MOST_QUESTIONS
    if not isinstance(data, list) or not data or not all(isinstance(line, str) and line.strip() for line in data):
        raise ValueError(f"{path}: questions must be {' or '.join(SPLITS)}, or a list of yes-or-no questions")
    return partial(filled, tuple(data)), len(data)


def filled(questions: Sequence[str], prompt: str) -> tuple[str, ...]:
    """Return questions with the prompt in place of {prompt}.

    Args:
        questions: any number.
        prompt: of the picture.
    """
    return tuple(question.replace("{prompt}", prompt) for question in questions)


def text(path: str, data: Mapping[str, Any], name: str) -> str:
    """Return a field that is text on one line.

    Args:
        path: of the file, for errors.
        data: the fields.
        name: of the field.

    Raises:
        ValueError: if it is missing, empty, too long or no text.
    """
    value = data.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > 2000:
        raise ValueError(f"{path}: {name} is missing or no text of at most 2000 characters; write `{name}: TEXT`")
    return value.strip()


def number(path: str, data: Mapping[str, Any], name: str, default: float, *, least: float, most: float = 1e9) -> float:
    """Return a field that is a number.

    Args:
        path: of the file, for errors.
        data: the fields.
        name: of the field.
        default: taken if it is missing.
        least: the smallest allowed.
        most: the largest allowed.

    Raises:
        ValueError: if it is no number in the range.
    """
    value = data.get(name, default)
    if not finite(value) or not least <= value <= most:
        raise ValueError(f"{path}: {name} is {value!r}; give a number from {least:g} to {most:g}")
    return float(value)


def finite(value: Any) -> bool:
    """Return whether a value is a finite number.

    Args:
        value: of a YAML file.
    """
    return type(value) in (int, float) and math.isfinite(value)
