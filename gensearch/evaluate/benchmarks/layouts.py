"""Pictures of a finished evaluation in the files that the authors' own scripts read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gensearch.evaluate.benchmarks import dpg, vbench
from gensearch.evaluate.benchmarks.t2i_compbench_prompts import file_of
from gensearch.evaluate.benchmarks.vbench import Clip
from gensearch.files.atomic import write_atomic
from gensearch.files.images import decode, encode

Record = Mapping[str, Any]


def export(
    name: str, run: Path, records: Sequence[Record], lines: Sequence[Mapping[str, Any]], target: Path, fps: float = 8.0
) -> list[Path]:
    """Write the pictures of each method into a folder of its own, and return these folders.

    Args:
        name: of the benchmark, a key of `published.NAMES`.
        run: the folder of the evaluation.
        records: of its journal.
        lines: the prompts that it ran on.
        target: made as needed.
        fps: frames per second of clips, in (0, 100].

    Raises:
        ValueError: for a missing picture, and for another number of pictures than the layout holds.
    """
    made = []
    for method in dict.fromkeys(record["method"] for record in records):
        own = [record for record in records if record["method"] == method]
        if missing := [record["picture"] for record in own if not (run / record["picture"]).is_file()]:
            raise ValueError(f"{run / missing[0]} is missing; run the same command again to make it, then export")
        folder = target / method
        if name.startswith("dpg"):
            grids(run, own, lines, folder)
        elif name == "vbench":
            clips(run, own, folder, fps)
        else:
            singles(name, run, own, lines, folder)
        made.append(folder)
    return made


def singles(name: str, run: Path, records: Sequence[Record], lines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Copy one file for each picture; further seeds of WISE and GenEval 2 get folders of their own.

    Args:
        name: of the benchmark.
        run: the folder of the evaluation.
        records: of one method.
        lines: the prompts that it ran on.
        folder: made as needed.
    """
    per_prompt = max(10, 1 + max(record["seed"] for record in records))
    files: dict[Path, dict[str, str]] = {}
    for record in records:
        line, seed = lines[record["prompt"]], record["seed"]
        place = folder / f"seed{seed}" if seed else folder
        if name.startswith("t2i_compbench"):
            path = folder / file_of(line["prompt"], seed, line["place"], per_prompt)
        elif name.startswith("wise"):
            path = place / f"{line['id']}.png"
        else:
            path = place / f"{record['prompt']:04}.png"
            files.setdefault(place, {})[line["prompt"]] = path.name
        write_atomic(path, (run / record["picture"]).read_bytes())
    for place, named in files.items():
        write_atomic(place / "images.json", json.dumps(named, indent=1).encode())


def grids(run: Path, records: Sequence[Record], lines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write four pictures of each prompt as one file.

    Args:
        run: the folder of the evaluation.
        records: of one method, four for each prompt.
        lines: the prompts that it ran on.
        folder: made as needed.

    Raises:
        ValueError: for another number of pictures.
    """
    by_prompt: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        by_prompt.setdefault(record["prompt"], []).append(record)
    for prompt, own in by_prompt.items():
        picture = dpg.tile([decode(run / record["picture"])[0][0] for record in own])
        write_atomic(folder / lines[prompt]["file"], encode(picture[None]))


def clips(run: Path, records: Sequence[Record], folder: Path, fps: float) -> None:
    """Write the clips and their manifest.

    Args:
        run: the folder of the evaluation.
        records: of one method.
        folder: made as needed.
        fps: frames per second, in (0, 100].
    """
    found = (Clip(r["text"], r["seed"], decode(run / r["picture"])[0], r["root"]) for r in records)
    vbench.export(found, folder, fps, {"method": records[0]["method"]})
