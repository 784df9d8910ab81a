"""Train `shapes/critic` and an independent critic: readers of pictures that answer questions about them.

The critic learns from pictures of the embedded generators that the exact judge has labelled, as reward models learn
from labels, and from rendered scenes. The hold-out has another architecture and learns from rendered scenes and their
own facts alone, so that it is independent of the exact judge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gensearch.shapes import world
from gensearch.shapes.critic import CONFIG, WEIGHTS
from gensearch.shapes.reader import CELL, COLORS, SHAPES, SIDE, Convolutions, Reader, Reading
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
    model = Reader(**settings)  # type: ignore[arg-type]
    normalise(model)
    model.to(memory_format=torch.channels_last)
    media, table = read(out / "pools", sources)
    *answers, objects = (torch.from_numpy(column) for column in table)
    answers = [answer.long() for answer in answers]
    print(f"{len(media)} pictures, {sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(media), (size,), generator=generator)
        some, sure, color, every, relation = (answer[rows] for answer in answers)
        mirrored = torch.rand(size, generator=generator) < 0.5
        x, relation, placed = mirror(media[rows].float() / 255, relation, objects[rows], mirrored)
        logits = model(x.to(memory_format=torch.channels_last))
        return reading_loss(logits, some, sure, color, every, relation) + cell_loss(logits.cells, placed)

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.02, save_every=100, seed=seed)
    settle(model, media, size, seed)
    fold(model)
    export(model, settings, out / name / "model")


def mirror(x: Tensor, relation: Tensor, objects: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror some pictures left to right, with their boxes and the relations "left of" and "right of".

    Args:
        x: pictures [b, 3, h, w].
        relation: their relations [b, 8, 8, 4].
        objects: theirs, [b, n, 7].
        rows: which, bool [b].
    """
    x1, y1, x2, y2, *rest = objects.unbind(-1)
    turned = torch.stack([x.shape[-1] - x2, y1, x.shape[-1] - x1, y2, *rest], -1)
    flip, swap = rows[:, None, None, None], rows[:, None, None]
    swapped = torch.where(flip, relation[..., [1, 0, 2, 3]], relation)
    return torch.where(flip, x.flip(-1), x), swapped, torch.where(swap, turned, objects)


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


def cell_loss(logits: Tensor, objects: Tensor) -> Tensor:
    """Return the mean loss of what cells say about the object whose centre they hold, the most certain one.

    It teaches the body where objects are, which the answers alone teach slowly.

    Args:
        logits: of the cells of b pictures, [b, 64, 23].
        objects: their objects [b, n, 7], the most certain first; those with an empty box do not exist.
    """
    shape, certainty, color, box = logits.float().split(CELL, -1)
    holder, there = cell_of(objects), objects[..., 2] > objects[..., 0]
    target = torch.zeros(*logits.shape[:2], objects.shape[-1])
    held = torch.zeros(logits.shape[:2], dtype=torch.bool)
    for i in reversed(range(objects.shape[1])):
        rows = there[:, i].nonzero()[:, 0]
        target[rows, holder[rows, i]], held[rows, holder[rows, i]] = objects[rows, i], True
    kind = torch.where(held, target[..., 5].long(), SHAPES)
    named = target[held][:, 6].long()
    found = F.cross_entropy(shape.flatten(0, 1), kind.flatten())
    sure = F.binary_cross_entropy_with_logits(certainty[held][:, 0], target[held][:, 4], reduction="sum")
    colors = F.cross_entropy(color[held], torch.where(named < 0, COLORS - 1, named), reduction="sum")
    boxes = (box[held] - target[held][:, :4] / world.SIZE).abs().sum()
    loss: Tensor = found + (sure + colors + 2 * boxes) / held.sum().clamp(min=1)
    return loss


def cell_of(objects: Tensor) -> Tensor:
    """Return the number of the cell with the centre of each object, [b, n] from [b, n, 7]."""
    x, y = (objects[..., 0] + objects[..., 2]) / 2, (objects[..., 1] + objects[..., 3]) / 2
    column, line = ((c * SIDE / world.SIZE).long().clamp(0, SIDE - 1) for c in (x, y))
    cells: Tensor = line * SIDE + column
    return cells


@torch.no_grad()
def settle(model: nn.Module, media: Tensor, size: int, seed: int, batches: int = 100) -> None:
    """Measure the statistics of batch norms again, since those of training belong to weights before their average.

    Args:
        model: whose batch norms are set; one without any stays as it is.
        media: pictures uint8 [n, 3, 64, 64].
        size: pictures in one batch.
        seed: of the batches.
        batches: how many.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches if norms else 0):
        rows = torch.randint(len(media), (size,), generator=generator)
        model.train()((media[rows].float() / 255).to(memory_format=torch.channels_last))
    model.eval()


def normalise(model: Reader) -> None:
    """Insert a batch norm after each convolution on a grid, with which it learns faster; `fold` removes them again."""
    if isinstance(model.body, Convolutions):
        layers = convolutions(model.body)
        for conv in layers:
            conv.register_parameter("bias", None)  # the norm has one
        fill(model.body, [[conv, nn.BatchNorm2d(conv.out_channels)] for conv in layers])


def fold(model: Reader) -> None:
    """Fold batch norms into the convolutions before them.

    The answers stay the same, are cheaper, and their gradients right: torch 2.14 gives wrong ones for a batch norm on
    one picture in the default memory format.
    """
    if isinstance(model.body, Convolutions):
        norms = [layer for layer in model.body.layers if isinstance(layer, nn.BatchNorm2d)]
        pairs = zip(convolutions(model.body), norms, strict=True)
        fill(model.body, [[fuse_conv_bn_eval(conv.eval(), norm.eval())] for conv, norm in pairs])


def convolutions(body: Convolutions) -> list[nn.Conv2d]:
    """Return the convolutions of a body in order."""
    return [layer for layer in body.layers if isinstance(layer, nn.Conv2d)]


def fill(body: Convolutions, layers: Sequence[Sequence[nn.Module]]) -> None:
    """Replace the layers of a body between its activations."""
    first = body.layers[0]
    body.layers = nn.Sequential(first, *(layer for group in layers for layer in (*group, nn.SiLU())))


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [b, 8, classes] over the labels [b, 8] that are not -1; 0 without any."""
    total = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def export(model: Reader, settings: dict[str, object], folder: Path) -> None:
    """Write a critic's folder: its settings and its weights in fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in halved.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
