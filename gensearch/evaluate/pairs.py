"""Labelled pairs of pictures in a CSV file, and how a verifier agrees with them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gensearch.evaluate.agreement import flipped
from gensearch.evaluate.passport import known, known_mean, numbers, over_prompts
from verifiers.types import Verifier

COLUMNS = ("prompt", "image_a", "image_b", "preferred")
LABELS = {"a": 1.0, "b": 0.0, "tie": 0.5}


class Pair(NamedTuple):
    """Two pictures of one prompt.

    Attributes:
        prompt: What they should show.
        a: File of the first picture.
        b: File of the second one.
        preferred: "a", "b" or "tie".
    """

    prompt: str
    a: Path
    b: Path
    preferred: str


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a CSV file with the columns prompt, image_a, image_b and preferred.

    Args:
        path: Of the file, to whose folder paths of pictures are relative.

    Raises:
        ValueError: It cannot be read, lacks a column, or has a row with an unknown label or a missing picture.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV ({error}); give a text file with one pair a line") from None
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ValueError(f"{path} has no column {missing[0]!r}; its first line names {', '.join(COLUMNS)}")
    pairs = []
    for place, row in enumerate(rows, 2):
        label = (row["preferred"] or "").strip().lower()
        if label not in LABELS:
            raise ValueError(f"{path}, line {place}: preferred is {row['preferred']!r}; write a, b or tie")
        files = [path.parent / (row[name] or "") for name in ("image_a", "image_b")]
        if gone := [file for file in files if not file.is_file()]:
            raise ValueError(
                f"{path}, line {place}: there is no picture {gone[0]}; write paths relative to the CSV file"
            )
        pairs.append(Pair(row["prompt"] or "", files[0], files[1], label))
    if not pairs:
        raise ValueError(f"{path} holds no pairs; write one a line")
    return pairs


def picture(path: Path) -> Tensor:
    """A picture file as media [1, 3, h, w]; raises ValueError if it is none."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error}); give PNG, JPEG or WebP") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@torch.no_grad()
def verdict(verifier: Verifier, pair: Pair, device: str) -> tuple[float, float]:
    """P(a is better) with a first, and P(b is better) with b first; by the sign of scores without `compare`."""
    a, b = (picture(path).to(device) for path in (pair.a, pair.b))
    if compare := getattr(verifier, "compare", None):
        forward, backward = compare(a, b, [pair.prompt]), compare(b, a, [pair.prompt])
        return float(numbers(forward)[0]), float(numbers(backward)[0])
    gap = float((numbers(verifier(a, [pair.prompt]).total) - numbers(verifier(b, [pair.prompt]).total))[0])
    chance = (float(np.sign(gap)) + 1) / 2
    return chance, 1 - chance


def check_pairs(
    verifier: Verifier, pairs: Sequence[Pair], name: str, say: Callable[[str], None], device: str = "cpu"
) -> dict[str, Any]:
    """The passport of a verifier on labelled pairs.

    Accuracy is over pairs with a preference, a verdict of equality counting half; intervals are over prompts.

    Args:
        verifier: What is checked.
        pairs: Labelled.
        name: What reports call the pairs.
        say: Called with the progress.
        device: Where pictures go.

    Raises:
        ValueError: A picture cannot be read.
    """
    found = []
    for count, pair in enumerate(pairs, 1):
        found.append(verdict(verifier, pair, device))
        if count % 50 == 0 or count == len(pairs):
            say(f"{count} of {len(pairs)} pairs")
    forward, backward = np.array(found).T
    mean = (forward + 1 - backward) / 2
    labels = np.array([LABELS[pair.preferred] for pair in pairs])
    right = np.where(mean == 0.5, 0.5, (mean > 0.5) == (labels > 0.5))
    right = np.where(np.isnan(mean) | (labels == 0.5), np.nan, right)
    prompts = np.array([pair.prompt for pair in pairs])
    return {
        "verifier": verifier.name,
        "on": name,
        "pairs": len(pairs),
        "prompts": len(set(prompts)),
        "accuracy": over_prompts([known_mean(right[prompts == prompt]) for prompt in dict.fromkeys(prompts)]),
        "ties": known_mean(np.where(np.isnan(mean), np.nan, mean == 0.5)),
        "ties_in_labels": float((labels == 0.5).mean()),
        "unscored": float(np.isnan(mean).mean()),
        "flips": known(flipped(forward, backward)) if hasattr(verifier, "compare") else None,
    }
