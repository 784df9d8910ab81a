"""Distil the flow of `shapes/video` into its flow map: jumps between the times of short schedules, with guidance.

The teacher is the trained flow. From a noised latent frame it takes small guided steps from time t to r. The student
learns the mean velocity of that path in one pass that is conditioned on both times (flow map distillation, Boffi et al.
2024, arXiv:2406.07507; AnyFlow's forward stage, Gu et al. 2026, arXiv:2605.13724). Its sampler needs no guidance.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gensearch.shapes.train.clips.video import (
    FIRSTS,
    Encoded,
    draw,
    export,
    hidden,
    noised,
    prepare,
    restore,
    shift,
    token_ids,
)
from gensearch.shapes.train.clips.video_network import TextToClip
from gensearch.shapes.train.loop import accelerator, fit

SCHEDULES = (4, 4, 8)  # steps of the schedules whose jumps are learned
SUBSTEPS = 3  # of the teacher within one jump


def jumps(size: int, frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw start and end times [size, frames], each of a step of one of the schedules."""
    device = generator.device
    kinds = torch.randint(len(SCHEDULES), (size, frames), generator=generator, device=device)
    schedule = torch.tensor(SCHEDULES, device=device)[kinds]
    step = (torch.rand(size, frames, generator=generator, device=device) * schedule).floor()
    return shift(1 - step / schedule), shift(1 - (step + 1) / schedule)


@torch.no_grad()
def path(
    teacher: TextToClip,
    x: Tensor,
    t: Tensor,
    r: Tensor,
    words: Tensor,
    empty: Tensor,
    clean: Tensor | None,
    guidance: float,
) -> Tensor:
    """Return the mean velocity of the teacher's guided path from x at times t to r, in `SUBSTEPS` Euler steps."""
    both = torch.cat([words, empty])
    context = None if clean is None else torch.cat([clean, clean])
    end, width = x, (t - r) / SUBSTEPS
    for step in range(SUBSTEPS):
        now = torch.cat([t - step * width] * 2)
        conditional, unconditional = teacher(torch.cat([end, end]), now, now, both, context).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        end = end - width[..., None, None, None] * velocity
    return (x - end) / (t - r)[..., None, None, None]


def map_loss(
    networks: TextToClip, teacher: TextToClip, data: Encoded, size: int, guidance: float, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error of the student's mean velocities."""
    z, ids = draw(data, size, generator)
    t, r = jumps(size, z.shape[1], generator)
    x, _ = noised(z, t, generator)
    clean = z if z.shape[1] > 1 else None
    with torch.no_grad():
        words, empty = teacher.read(ids), teacher.read(token_ids([""]).to(ids.device).expand_as(ids))
    target = path(teacher, x, t, r, words, empty, clean, guidance)
    return (networks(x, t, r, networks.read(ids), clean) - target).square().mean()


def train(out: Path, *, name: str, films: int, stills: int, steps: int, size: int, lr: float, guidance: float) -> None:
    """Distil out/video/model on the clips that it was trained on; writes out/video_map/model."""
    vae, moving, still = prepare(out, films, stills)
    networks, teacher = (restore(out / "video" / "model").to(accelerator()) for _ in range(2))
    teacher.requires_grad_(False)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step % 2:
            return map_loss(networks, teacher, moving, size, guidance, generator)
        return map_loss(networks, teacher, still, FIRSTS * size, guidance, generator)

    fit(networks, loss, folder=out / name, steps=steps, lr=lr, save_every=100, seed=1, matrices=hidden(networks))
    export(networks, vae, out / name / "model")
