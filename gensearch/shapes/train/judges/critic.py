"""Train `shapes/critic` and an independent critic: readers of pictures that answer questions about them.

The critic learns from pictures of the embedded generators that the exact judge has labelled, as reward models learn
from labels, and from rendered scenes. The hold-out has another architecture and learns from rendered scenes and their
own facts alone, so that it is independent of the exact judge.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gensearch.shapes.critic import CONFIG, WEIGHTS
from gensearch.shapes.reader import Reader, Reading
from gensearch.shapes.train.judges.pools import read
from gensearch.shapes.train.loop import fit


def train(
    out: Path,
    *,
    name: str,
    body: str,
    depth: int,
    sources: dict[str, int],
    steps: int,
    size: int,
    lr: float,
    seed: int,
    width: int = 128,
) -> None:
    """Fit a reader to the pools in out/pools; writes out/NAME/model.

    Args:
        out: folder of all recipes.
        name: of the critic.
        body: "convolutions" or "patches".
        depth: layers in which shapes read the picture.
        sources: pool -> pictures.
        steps: updates.
        size: pictures in one update.
        lr: peak learning rate.
        seed: of weights, batches and mirroring.
        width: of the vectors.
    """
    torch.manual_seed(seed)
    settings = {"body": body, "width": width, "depth": depth}
    model = Reader(**settings).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    media, table = read(out / "pools", sources)
    answers = tuple(torch.from_numpy(column).long() for column in table)
    print(f"{len(media)} pictures, {sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(media), (size,), generator=generator)
        some, sure, color, every, relation = (answer[rows] for answer in answers)
        mirrored = torch.rand(size, generator=generator) < 0.5
        x, relation = mirror(media[rows].float() / 255, relation, mirrored)
        logits = model(x.to(memory_format=torch.channels_last))
        return reading_loss(logits, some, sure, color, every, relation)

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.02, save_every=100, seed=seed)
    export(model, settings, out / name / "model")


def mirror(x: Tensor, relation: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror some pictures left to right, and with them the relations "left of" and "right of".

    Args:
        x: pictures [b, 3, h, w].
        relation: their relations [b, 8, 8, 4].
        rows: which, bool [b].
    """
    swapped = torch.where(rows[:, None, None, None], relation[..., [1, 0, 2, 3]], relation)
    return torch.where(rows[:, None, None, None], x.flip(-1), x), swapped


def reading_loss(logits: Reading, some: Tensor, sure: Tensor, color: Tensor, every: Tensor, relation: Tensor) -> Tensor:
    """Return the sum of the mean losses of all heads; colours and relations count only where there are objects.

    Args:
        logits: of b pictures.
        some: labels [b, 8].
        sure: labels [b, 8].
        color: labels [b, 8], -1 where there is no object.
        every: labels [b, 8], -1 where there is no object.
        relation: labels [b, 8, 8, 4].
    """
    heads = zip(logits[:4], (some, sure, color, every), strict=True)
    answers = [mean_loss(head, label) for head, label in heads]
    there = some > 0
    both = (there[:, :, None] & there[:, None]) & ~torch.eye(there.shape[1], dtype=torch.bool)
    places = F.binary_cross_entropy_with_logits(logits.relation.float(), relation.float(), reduction="none").mean(-1)
    return torch.stack(answers).sum() + (places * both).sum() / both.sum().clamp(min=1)


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [b, 8, classes] over the labels [b, 8] that are not -1; 0 without any."""
    total = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def export(model: Reader, settings: dict[str, object], folder: Path) -> None:
    """Write a critic's folder: its settings and its weights in fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
