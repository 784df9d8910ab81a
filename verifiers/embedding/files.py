"""Files of weights: only safetensors are read, checkpoints that exist as pickles are converted once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

WEIGHTS = "model.safetensors"
SETTINGS = "gensearch.json"


class Converted(NamedTuple):
    """What is written into the folder of a converted checkpoint.

    Attributes:
        tensors: by the names of our network.
        settings: what is needed to build it, and `kind`, the name of the verifier.
        weights: name of the safetensors file.
        config: name of the JSON file of settings.
    """

    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    weights: str = WEIGHTS
    config: str = SETTINGS


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Turn any error while a file is read into a ValueError of one line.

    Args:
        file: what is read, for the error message.

    Raises:
        ValueError: for every exception in the context.
    """
    try:
        yield
    except Exception as error:  # damaged files make the libraries raise errors of many kinds
        why = " ".join(f"{type(error).__name__}: {error}".split())[:240].rstrip(".")
        raise ValueError(
            f"cannot load {file}: it is damaged, or of another model ({why}); download or copy it again"
        ) from error


def settings(folder: str | Path, kind: str, original: str, config: str = SETTINGS) -> dict[str, Any]:
    """Read the settings of a converted folder.

    Args:
        folder: that `gensearch convert` wrote.
        kind: the verifier that it should hold.
        original: name of the file that it is converted from, for the error message.
        config: name of the JSON file.

    Raises:
        ValueError: for another path, such as that of the pickle, and for a folder of another kind.
    """
    path = Path(folder) / config
    how = f"write it by `gensearch convert {kind} {original} FOLDER`, and take {kind}:FOLDER"
    if not path.is_file():
        raise ValueError(f"{folder} is no folder with {config}; {how}")
    with readable(path):
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ValueError(f"{path} is not of a converted {kind}; {how}")
    return found


def require_layout(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], original: str) -> None:
    """Check that tensors are those of a network, by name and shape.

    Args:
        found: to check.
        expected: what the network has; only shapes are read.
        original: name of the file that should have been given, for the error message.

    Raises:
        ValueError: for the first tensor that is missing, unknown or of another shape.
    """
    for name in sorted({*found, *expected}):
        shapes = [list(tensors[name].shape) if name in tensors else None for tensors in (found, expected)]
        if shapes[0] != shapes[1]:
            have, want = ("no such tensor" if shape is None else f"the shape {shape}" for shape in shapes)
            raise ValueError(
                f"{name!r} is not as in {original}: the file has {have}, the network {want}; give the original file"
            )
