"""GenEval's folders of pictures, read and written: NNNNN/metadata.jsonl and NNNNN/samples/NNNNN.png.

The number of a folder is the line of its prompt in the prompt file, from 0. Reading follows the original evaluator: any
folder of digits and any picture of digits counts, and everything else is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gensearch.evaluate.journal import Record
from gensearch.files.atomic import write_atomic

METADATA, SAMPLES = "metadata.jsonl", "samples"


class Picture(NamedTuple):
    """One generated picture of a folder.

    Attributes:
        name: its path within the folder, with slashes.
        path: where it is.
        line: what the metadata file beside it says.
    """

    name: str
    path: Path
    line: dict[str, Any]


def read(folder: Path) -> tuple[list[Picture], list[str]]:
    """Return the pictures of a folder in order of their numbers, and the names of prompts without any.

    Args:
        folder: made by any program in this layout.

    Raises:
        ValueError: There is no such folder or it holds no prompts, or a metadata file is missing or damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give one with {METADATA} and {SAMPLES}/ for each prompt")
    inner = [path for path in folder.iterdir() if path.is_dir() and re.fullmatch("[0-9]+", path.name)]
    if not inner:
        raise ValueError(f"{folder} has no folder of digits such as 00000; give the folder that holds those of prompts")
    found, bare = [], []
    for prompt in sorted(inner, key=lambda path: (int(path.name), path.name)):
        line = metadata(prompt / METADATA)
        samples = prompt / SAMPLES
        files = [path for path in samples.iterdir() if path.is_file()] if samples.is_dir() else []
        numbered = [path for path in files if re.fullmatch(r"[0-9]+\.png", path.name)]
        found += [
            Picture(f"{prompt.name}/{SAMPLES}/{path.name}", path, line)
            for path in sorted(numbered, key=lambda path: (int(path.stem), path.name))
        ]
        bare += [] if numbered else [prompt.name]
    return found, bare


def metadata(path: Path) -> dict[str, Any]:
    """Return the object that a metadata file holds.

    Args:
        path: Of the file.

    Raises:
        ValueError: It is missing, is no JSON object, or names no prompt.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path} ({error}); it holds the line of the prompt as one JSON object") from None
    if not isinstance(data, dict) or not isinstance(data.get("prompt"), str):
        raise ValueError(f"{path} names no prompt; it holds the line of the prompt as one JSON object")
    return data


def export(
    run: Path, records: Sequence[Record], lines: Sequence[Mapping[str, Any]], numbers: Sequence[int], target: Path
) -> list[Path]:
    """Copy the pictures of a finished evaluation into one folder for each method, and return these folders.

    Args:
        run: The folder of the evaluation.
        records: Of its journal.
        lines: The prompts that it ran on.
        numbers: The place of each of them in the whole prompt file, from 0.
        target: Made as needed.

    Raises:
        ValueError: A picture is missing, or the folder holds others.
    """
    planned = {
        target / r["method"] / f"{numbers[r['prompt']]:05}" / SAMPLES / f"{r['seed']:05}.png": r for r in records
    }
    made = list(dict.fromkeys(path.parents[2] for path in planned))
    if others := {path for folder in made for path in folder.glob(f"*/{SAMPLES}/*.png")} - planned.keys():
        raise ValueError(f"{min(others)} is of another run; take another --layout")
    for path, record in planned.items():
        source = run / record["picture"]
        if not source.is_file():
            raise ValueError(f"{source} is missing; the same command without --layout makes it again")
        write_atomic(path.parents[1] / METADATA, json.dumps(lines[record["prompt"]]).encode())
        write_atomic(path, source.read_bytes())
    return made


def numbers_of(lines: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the place of each line in the whole list, from 0; equal lines keep their order.

    Args:
        lines: Some of the list, in any order.
        whole: The list.
    """
    places: dict[str, list[int]] = {}
    for number, line in enumerate(whole):
        places.setdefault(json.dumps(line, sort_keys=True), []).append(number)
    return [places[json.dumps(line, sort_keys=True)].pop(0) for line in lines]
