"""Pictures of the embedded generators for training prompts, with what the classical detector sees in each.

Reward models are trained on labelled pictures of the generators that they will judge. No prompt of the benchmark is
drawn, and pictures that show a held-out pair are dropped, so that the split stays one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import pixels
from gensearch.shapes.train.judges import scenes, spoilt
from gensearch.shapes.train.judges.labels import Table, held_out, joined, of_detections, part

PART = 500  # pictures of one file, before those with held-out pairs are dropped
MIX = {"two_object": 0.15, "colors": 0.1, "position": 0.25, "color_attr": 0.25, "color_count": 0.25}
SCENES = {"scenes": scenes.make_part, "spoilt": spoilt.make_part}  # rendered, with their own facts
FIRST_SEED = 1 << 31  # noises of these pictures; searches and evaluations start from smaller numbers


@cache
def asked_by_benchmark() -> frozenset[str]:
    """Return every prompt of GenEval-Shapes."""
    return frozenset(line["prompt"] for line in world.benchmark(per_tag=10**6))


def prompts(count: int, seed: int) -> list[str]:
    """Draw training prompts that are not in the benchmark."""
    rng, found = np.random.default_rng((31, seed)), list[str]()
    while len(found) < count:
        prompt = world.sample(rng, str(rng.choice(list(MIX), p=list(MIX.values()))))[0]["prompt"]
        if prompt not in asked_by_benchmark():
            found.append(prompt)
    return found


@torch.no_grad()
def make_part(model: Any, number: int) -> dict[str, Tensor]:
    """Generate one part, and return its pictures uint8 [n, 3, 64, 64] with the columns of their table."""
    asked = prompts(PART, number)
    noise = randn(range(FIRST_SEED + number * PART, FIRST_SEED + (number + 1) * PART), model.noise_shape)
    media = generate(model, asked, noise, [()] * PART)
    return labelled([pixels(picture) for picture in media])


def labelled(pictures: list[np.ndarray]) -> dict[str, Tensor]:
    """Return pictures uint8 [h, w, 3] without those of a held-out pair, as tensors [n, 3, h, w] with their table."""
    found = [ShapesDetector().detect(picture) for picture in pictures]
    rows = [row for row, detections in enumerate(found) if not held_out(detections)]
    table = of_detections([found[row] for row in rows])
    return part([pictures[row] for row in rows], table)


def write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a part atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file(tensors, partial)
    os.replace(partial, path)


def read(folder: Path, sources: Mapping[str, int]) -> tuple[Tensor, Table]:
    """Return the pictures of all parts, uint8 [n, 3, 64, 64], and their table."""
    paths = [path(folder, source, number) for source, count in sources.items() for number in range(count // PART)]
    parts = [load_file(path) for path in paths]
    tables = [Table(**{name: part[name].numpy() for name in Table._fields}) for part in parts]
    return torch.cat([part["media"] for part in parts]), joined(tables)


def path(folder: Path, source: str, number: int) -> Path:
    """Return where a part is."""
    return folder / f"{source}-{number:04d}.safetensors"


def train(out: Path, *, name: str, sources: dict[str, int], first: int = 0, every: int = 1) -> None:
    """Write the parts out/pools/SOURCE-NNNN that are missing, each `every`-th from `first` on.

    Args:
        out: folder of all recipes.
        name: of the folder.
        sources: embedded generator, or one of `SCENES` -> pictures, whole parts of 500.
        first: first part of this process; two processes take 0 and 1 of every 2.
        every: number of processes.
    """
    for source, count in sources.items():
        make = None
        for number in range(first, count // PART, every):
            target = path(out / name, source, number)
            if not target.exists():
                make = make or maker(source)
                write(target, make(number))
                print(f"{target.name} of {count // PART}", flush=True)


def maker(source: str) -> Callable[[int], dict[str, Tensor]]:
    """Return what makes a part of a source by its number."""
    from gensearch.models.load import load

    if source in SCENES:
        generator: Any = load("shapes/turbo")
        vae = generator.pipeline.vae
        return lambda number: SCENES[source](vae, number, PART)
    model = load(f"shapes/{source}")
    return lambda number: make_part(model, number)
