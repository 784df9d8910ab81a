"""Verdicts on a folder of pictures in GenEval's layout, whoever made them; resumable, one JSON line for each picture.

The lines have the fields of the original evaluator (filename, tag, prompt, correct, reason, metadata, details), so that
its summary script reads them, and also the SHA-256 of the file, the benchmark and the judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from gensearch.evaluate.journal import Record
from gensearch.evaluate.layout import Picture
from gensearch.files.atomic import append_line, owned, read_records, write_atomic
from gensearch.files.images import MAX_PIXELS
from verifiers.detect.examine import Examined
from verifiers.detect.summary import Outcome, Summary
from verifiers.detect.summary import summarise as sum_up

FIELDS = {"filename", "tag", "prompt", "correct", "reason", "metadata", "details", "sha256", "benchmark", "judge"}


class Judge(NamedTuple):
    """What gives verdicts on pictures.

    Attributes:
        benchmark: its name, with the deviation from the original.
        identity: of rules and networks; verdicts of another judge are not mixed.
        line: what a metadata file says as a metadata line that can be judged; called with the file's path as well.
        examine: a picture uint8 [h, w, 3] and such a line -> what was found.
    """

    benchmark: str
    identity: str
    line: Callable[[Mapping[str, Any], str], Mapping[str, Any]]
    examine: Callable[[np.ndarray, Mapping[str, Any]], Examined]


def judge_pictures(pictures: Sequence[Picture], judge: Judge, out: Path) -> Iterator[Record]:
    """Judge the pictures that `out` has no verdict on, and yield each record once it is safely written.

    At the end the file holds exactly the pictures of the folder in their order, however often the work was interrupted.
    A picture that cannot be read is yielded with an `error` and is not in the file.

    Args:
        pictures: Of a folder.
        judge: What gives the verdicts.
        out: The JSONL file.

    Raises:
        ValueError: The file is damaged or holds the verdicts of another judge, or a line cannot be judged.
    """
    lines = {picture.name: judge.line(picture.line, str(picture.path.parents[1])) for picture in pictures}
    with owned(out.parent):
        known = {record["filename"]: record for record in read_records(out, FIELDS, "verdict on a picture")}
        if others := {record["judge"] for record in known.values()} - {judge.identity}:
            raise ValueError(f"{out} holds verdicts by {min(others)}, this is {judge.identity}; take another --out")
        kept = []
        for picture in pictures:
            content, metadata = picture.path.read_bytes(), json.dumps(picture.line)
            digest = hashlib.sha256(content).hexdigest()
            record = known.get(picture.name)
            if record is None or (record["sha256"], record["metadata"]) != (digest, metadata):
                try:
                    image = pixels(picture.path)
                except ValueError as error:
                    yield {"filename": picture.name, "error": str(error)}
                    continue
                record = verdict(picture, image, lines[picture.name], judge) | {"sha256": digest}
                append_line(out, record)
                yield record
            kept.append(record)
        text = "".join(json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n" for record in kept)
        write_atomic(out, text.encode())


def verdict(picture: Picture, image: np.ndarray, line: Mapping[str, Any], judge: Judge) -> Record:
    """The record of one picture, without the hash of its file.

    Args:
        picture: Where it is.
        image: uint8 [h, w, 3], RGB.
        line: The metadata line that it is judged by.
        judge: What gives the verdict.
    """
    examined = judge.examine(image, line)
    correct, reasons = examined.verdict
    boxes = {name: [[*d.box, d.score] for d in found] for name, found in examined.found.items() if found}
    return {
        "filename": picture.name,
        "tag": line["tag"],
        "prompt": line["prompt"],
        "correct": correct,
        "reason": "\n".join(reasons),
        "metadata": json.dumps(picture.line),
        "details": json.dumps(boxes, default=float),
        "benchmark": judge.benchmark,
        "judge": judge.identity,
    }


def pixels(path: Path) -> np.ndarray:
    """Return a picture as uint8 [h, w, 3], turned as its EXIF data says; transparency is ignored.

    Args:
        path: Of a PNG, JPEG or WebP file, whatever its suffix.

    Raises:
        ValueError: It cannot be read, is too large, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{path} has {opened.width} x {opened.height} pixels; that is too large")
            if opened.mode.startswith(("I", "F")):
                raise ValueError(f"{path} has more than 8 bits a channel; save it with 8")
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is damaged or no picture ({error}); make it again") from None


def summarise(records: Sequence[Record]) -> Summary:
    """GenEval's numbers of a file of verdicts: prompts are told apart by their metadata, as in the original script.

    Args:
        records: As `judge_pictures` writes them, in any order.
    """
    return sum_up(Outcome(record["tag"], record["metadata"], record["correct"]) for record in records)
