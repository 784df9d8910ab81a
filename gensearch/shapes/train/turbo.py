"""Distil `shapes/sd` into `shapes/turbo`: one to four steps without guidance, each a guess at the teacher's end.

The teacher's guided DDIM run maps noise to a picture deterministically. The student learns that map in one step, and
then, on states of its own making, to improve on its first guess with every further step (regression on noise-image
pairs, Luhman & Luhman 2021, arXiv:2101.02388, unrolled over the student's own sampler).
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gensearch.shapes import world
from gensearch.shapes.train.data import token_ids
from gensearch.shapes.train.loop import fit
from gensearch.shapes.train.sd import TextToLatent, save_pipeline, scheduler

TEACHER_STEPS, GUIDANCE = 10, 2.5


def trailing(steps: int) -> list[int]:
    """Timesteps of a schedule with trailing spacing, noisiest first."""
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]


def levels(alphas: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """Signal and noise amplitude at a timestep."""
    return alphas[t].sqrt(), (1 - alphas[t]).sqrt()


def ddim(x: Tensor, v: Tensor, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor]) -> Tensor:
    """One deterministic DDIM step from a predicted v, between two (signal, noise) levels."""
    (a, s), (b, r) = here, there
    return b * (a * x - s * v) + r * (s * x + a * v)


@torch.no_grad()
def teach(networks: TextToLatent, noise: Tensor, ids: Tensor, steps: int, guidance: float) -> Tensor:
    """The teacher's guided DDIM samples [b, 16, 8, 8] from noise of the same shape."""
    alphas = scheduler().alphas_cumprod
    empty = token_ids([""]).expand(len(ids), -1)
    both, x = torch.cat([empty, ids]), noise
    timesteps = trailing(steps)

    def guided(x: Tensor, t: int) -> Tensor:
        plain, told = networks(torch.cat([x, x]), torch.full((2 * len(x),), t), both).chunk(2)
        return plain + guidance * (told - plain)

    for t, following in pairwise(timesteps):
        x = ddim(x, guided(x, t), levels(alphas, t), levels(alphas, following))
    a, s = levels(alphas, timesteps[-1])
    return a * x - s * guided(x, timesteps[-1])


def pairs(
    networks: TextToLatent, count: int, path: Path, steps: int, guidance: float, size: int = 250
) -> dict[str, Tensor]:
    """Noise, teacher's sample (both fp16) and token ids of `count` training prompts; parts already made are kept."""
    parts = []
    for start in range(0, count, 10 * size):
        part = path / f"pairs-{start:06d}.safetensors"
        if not part.exists():
            made = [make_pairs(networks, s, size, steps, guidance) for s in range(start, start + 10 * size, size)]
            tensors = {k: torch.cat([m[k] for m in made]).contiguous() for k in made[0]}
            save_file(tensors, part.with_suffix(".partial"))
            os.replace(part.with_suffix(".partial"), part)
            print(f"{start + 10 * size} pairs", flush=True)
        parts.append(load_file(part))
    return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}


def make_pairs(networks: TextToLatent, start: int, size: int, steps: int, guidance: float) -> dict[str, Tensor]:
    """One batch of pairs; its prompts and noise depend on `start` only."""
    rng = np.random.default_rng((21, start))
    ids = token_ids([world.sample(rng)[0]["prompt"] for _ in range(size)])
    noise = torch.randn(size, 16, 8, 8, generator=torch.Generator().manual_seed(start)).half()
    with torch.autocast("cpu", torch.bfloat16):
        return {"noise": noise, "ids": ids, "sample": teach(networks, noise.float(), ids, steps, guidance).half()}


def train(out: Path, *, name: str, count: int, steps: int, size: int, lr: float) -> None:
    """Make `count` pairs, fit the student from the teacher's weights; reads out/sd/model, writes out/turbo/model."""
    from diffusers import StableDiffusionPipeline

    (out / name).mkdir(parents=True, exist_ok=True)
    teacher = out / "sd" / "model"
    pipeline: Any = StableDiffusionPipeline.from_pretrained(teacher, use_safetensors=True, dtype=torch.float32)
    networks = TextToLatent(pipeline.unet, pipeline.text_encoder).requires_grad_(True)
    data = pairs(networks, count, out / name, steps=TEACHER_STEPS, guidance=GUIDANCE)
    alphas = scheduler().alphas_cumprod

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(data["ids"]), (size,), generator=generator)
        ids, target, x = data["ids"][rows], data["sample"][rows].float(), data["noise"][rows].float()
        chain = trailing((1, 1, 2, 4)[int(torch.randint(4, (1,), generator=generator))])
        length = int(torch.randint(len(chain), (1,), generator=generator)) + 1
        for t, following in pairwise(chain[:length]):
            with torch.no_grad():
                v = networks(x, torch.full((size,), t), ids)
                x = ddim(x, v, levels(alphas, t), levels(alphas, following))
        a, s = levels(alphas, chain[length - 1])
        clean = a * x - s * networks(x, torch.full((size,), chain[length - 1]), ids)
        return ((clean - target).square().mean((1, 2, 3)) + 1e-4).sqrt().mean()

    fit(networks, loss, folder=out / name, steps=steps, lr=lr, bf16=True, seed=1)
    save_pipeline(
        networks, pipeline.vae, out / name / "model", settings={"steps": 1, "guidance_scale": 0.0, "batch_size": 16}
    )
