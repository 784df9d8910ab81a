"""Distil `shapes/sd` into `shapes/turbo`: one to four steps without guidance, each predicts the teacher's sample.

The teacher's guided DDIM sampler maps noise to a picture deterministically. The student learns this map in one step,
and on its own states it learns to improve the prediction with every further step (regression on noise-image pairs,
Luhman & Luhman 2021, arXiv:2101.02388, unrolled over the student's own sampler). A picture that does not show its
prompt is paired with a prompt that it does show (hindsight relabelling, Andrychowicz et al. 2017, arXiv:1707.01495), or
left out if there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import pixels
from gensearch.shapes.train.loop import autocast, fit
from gensearch.shapes.train.pictures.data import token_ids
from gensearch.shapes.train.pictures.sd import TextToLatent, save_pipeline, scheduler
from verifiers.detect.geneval import keep, verdict

TEACHER_STEPS, GUIDANCE = 8, 3.0
JITTER = 0.2  # largest rotation of a noise in radians: augmentation, since close noises give almost the same picture
CHAINS = (1, 1, 2, 4)  # steps of the schedules in training: half of them have one step
CLEAR = 0.3  # score from which a detection counts, as in GenEval
GUIDED_ABOVE = 300  # timestep below which the prompt no longer changes the prediction, and guidance only costs passes


def trailing(steps: int) -> list[int]:
    """Return the timesteps of a schedule with trailing spacing, noisiest first."""
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]


def levels(alphas: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """Return signal and noise amplitude at a timestep."""
    return alphas[t].sqrt(), (1 - alphas[t]).sqrt()


def ddim(x: Tensor, v: Tensor, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor]) -> Tensor:
    """Take one deterministic DDIM step with a predicted v, between two (signal, noise) levels."""
    (a, s), (b, r) = here, there
    return b * (a * x - s * v) + r * (s * x + a * v)


@torch.no_grad()
def teach(
    networks: TextToLatent, noise: Tensor, ids: Tensor, steps: int, guidance: float, guided_above: int = 0
) -> Tensor:
    """Return the teacher's DDIM samples [b, 16, 8, 8], guided at timesteps >= `guided_above`.

    Guidance in a limited interval, Kynkaanniemi et al. 2024, arXiv:2404.07724.
    """
    alphas: Tensor = scheduler().alphas_cumprod
    empty = token_ids([""]).expand(len(ids), -1)
    both, x = torch.cat([empty, ids]), noise
    timesteps = trailing(steps)

    def guided(x: Tensor, t: int) -> Tensor:
        if t < guided_above:
            return networks(x, torch.full((len(x),), t), ids)
        unconditional, conditional = networks(torch.cat([x, x]), torch.full((2 * len(x),), t), both).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    for t, following in pairwise(timesteps):
        x = ddim(x, guided(x, t), levels(alphas, t), levels(alphas, following))
    a, s = levels(alphas, timesteps[-1])
    return a * x - s * guided(x, timesteps[-1])


def pairs(networks: TextToLatent, vae: Any, count: int, path: Path, size: int = 250) -> dict[str, Tensor]:
    """Return noise, teacher's sample (both fp16) and token ids of a true prompt, for most of `count` training prompts.

    Parts that exist already are loaded.
    """
    parts = []
    for start in range(0, count, 10 * size):
        part = path / f"pairs-{start:06d}.safetensors"
        if not part.exists():
            made = [make_pairs(networks, vae, s, size) for s in range(start, start + 10 * size, size)]
            tensors = {k: torch.cat([m[k] for m in made]).contiguous() for k in made[0]}
            save_file(tensors, part.with_suffix(".partial"))
            os.replace(part.with_suffix(".partial"), part)
            print(f"{start + 10 * size} pairs, {len(tensors['ids'])} of the last {10 * size} kept", flush=True)
        parts.append(load_file(part))
    return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}


@torch.no_grad()
def make_pairs(networks: TextToLatent, vae: Any, start: int, size: int) -> dict[str, Tensor]:
    """Make one batch of pairs, without those that have no true prompt; prompts and noise depend on `start` only."""
    rng = np.random.default_rng((21, start))
    lines = [world.sample(rng)[0] for _ in range(size)]
    ids = token_ids([line["prompt"] for line in lines])
    noise = torch.randn(size, 16, 8, 8, generator=torch.Generator().manual_seed(start)).half()
    with autocast():
        sample = teach(networks, noise.float(), ids, TEACHER_STEPS, GUIDANCE, GUIDED_ABOVE)
        pictures = vae.decode(sample / vae.config.scaling_factor).sample.float() / 2 + 0.5
    prompts = [relabel(pixels(picture), line) for picture, line in zip(pictures, lines, strict=True)]
    rows = [row for row, prompt in enumerate(prompts) if prompt]
    ids = token_ids([prompt for prompt in prompts if prompt])
    return {"noise": noise[rows], "ids": ids, "sample": sample[rows].half()}


def relabel(picture: np.ndarray, line: world.Spec) -> str | None:
    """Return a prompt that a uint8 picture [h, w, 3] shows: its own, else another of the same kind, else None.

    A picture with an unclear object can have its own prompt only. A picture that shows a held-out pair has none.
    """
    detected = ShapesDetector().detect(picture)

    def shown(asked: world.Spec) -> bool:
        return verdict(picture, asked, keep(detected, asked["tag"])).correct

    found = [(shape, d) for shape, group in detected.items() for d in group]
    if world.is_held_out(tuple((shape, d.color or "") for shape, d in found if d.score > CLEAR)):
        return None
    if shown(line):
        return str(line["prompt"])
    if not found or any(d.score <= CLEAR or d.color is None for _, d in found):
        return None
    things = [(shape, str(d.color)) for shape, d in found]
    return next((other["prompt"] for other in like(line, things) if shown(other)), None)


def like(line: world.Spec, things: list[tuple[str, str]]) -> Iterator[world.Spec]:
    """Yield prompts of the kind of `line` that a picture of exactly these (shape, colour) objects may show."""
    shapes, colors = [shape for shape, _ in things], [color for _, color in things]
    if len(things) == 1:
        tag = "colors" if "color" in line["include"][0] else "single_object"
        yield world.make_spec(tag, (shapes[0], ""), colors, "", 1)
    elif len(set(shapes)) == 1 and len(things) in world.NUMBERS:
        tag = "color_count" if line["tag"] == "color_count" and len(set(colors)) == 1 else "counting"
        yield world.make_spec(tag, (shapes[0], ""), colors, "", len(things))
    elif len(things) == 2:
        tag = line["tag"] if line["tag"] in ("position", "color_attr") else "two_object"
        for (first, color), (second, other) in (things, things[::-1]):
            for relation in world.RELATIONS if tag == "position" else ("",):
                yield world.make_spec(tag, (first, second), [color, other], relation, 1)


def regression(networks: TextToLatent, data: dict[str, Tensor], size: int, generator: torch.Generator) -> Tensor:
    """Return the mean distance of the student's samples from the teacher's, on `size` pairs with rotated noises."""
    rows = torch.randint(len(data["ids"]), (size,), generator=generator)
    ids, target, x = data["ids"][rows], data["sample"][rows].float(), data["noise"][rows].float()
    angle = JITTER * torch.rand(size, 1, 1, 1, generator=generator)
    x = angle.cos() * x + angle.sin() * torch.randn(x.shape, generator=generator)
    clean = unrolled(networks, x, ids, generator)
    return ((clean - target).square().mean((1, 2, 3)) + 1e-4).sqrt().mean()


def unrolled(networks: TextToLatent, x: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
    """Return clean samples after some steps of the student's sampler; only the last step has a gradient."""
    alphas: Tensor = scheduler().alphas_cumprod
    chain = trailing(CHAINS[int(torch.randint(len(CHAINS), (1,), generator=generator))])
    length = int(torch.randint(len(chain), (1,), generator=generator)) + 1
    for t, following in pairwise(chain[:length]):
        with torch.no_grad():
            v = networks(x, torch.full((len(x),), t), ids)
            x = ddim(x, v, levels(alphas, t), levels(alphas, following))
    a, s = levels(alphas, chain[length - 1])
    return a * x - s * networks(x, torch.full((len(x),), chain[length - 1]), ids)


def train(out: Path, *, name: str, count: int, steps: int, size: int, lr: float) -> None:
    """Make pairs for `count` prompts and fit the student to them; reads out/sd/model, writes out/turbo/model."""
    from diffusers import StableDiffusionPipeline

    (out / name).mkdir(parents=True, exist_ok=True)
    teacher = out / "sd" / "model"
    pipeline: Any = StableDiffusionPipeline.from_pretrained(teacher, use_safetensors=True, dtype=torch.float32)
    networks = TextToLatent(pipeline.unet, pipeline.text_encoder).requires_grad_(True)
    data = pairs(networks, pipeline.vae, count, out / name)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return regression(networks, data, size, generator)

    fit(networks, loss, folder=out / name, steps=steps, lr=lr, seed=1)
    save_pipeline(
        networks, pipeline.vae, out / name / "model", settings={"steps": 1, "guidance_scale": 0.0, "batch_size": 16}
    )
