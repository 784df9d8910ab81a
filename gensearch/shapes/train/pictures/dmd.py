"""Sharpen `shapes/turbo` by distribution matching, on new noises and prompts in every step.

The gradient of the reverse KL divergence between student and teacher is the difference of two scores: that of the
guided teacher, and that of a critic, a copy of the teacher that is trained on the student's own pictures (DMD, Yin et
al. 2024, arXiv:2311.18828, eq. 7 and 8, with the states of its own sampler as in DMD2, arXiv:2405.14867, part 4.5).
Regression on the true pairs stays as an anchor: the teacher has wrong colours in four pictures of ten.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gensearch.shapes import world
from gensearch.shapes.train.loop import fit
from gensearch.shapes.train.pictures import turbo
from gensearch.shapes.train.pictures.data import token_ids
from gensearch.shapes.train.pictures.sd import SHIFT, TextToLatent, save_pipeline, scheduler

GUIDANCE, GUIDED_ABOVE = 3.0, 300  # scale, and the timestep below which the prompt no longer matters
STUDENT_RATE = 0.5  # learning rate divided by that of the critic, which has to follow the student (DMD2, part 4.2)
PROMPTS = 20_000
ANCHOR = 0.5  # weight of the regression on pairs


def load(folder: Path) -> tuple[TextToLatent, Any]:
    """Load the two networks of a pipeline folder in fp32, and its autoencoder."""
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    return TextToLatent(pipeline.unet, pipeline.text_encoder), pipeline.vae


def clean(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """Return the clean estimate [b, 16, 8, 8] at timesteps [b]."""
    a, s = amplitudes(t)
    return a * x - s * v


def amplitudes(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return signal and noise amplitudes [b, 1, 1, 1] at timesteps [b]."""
    alphas = scheduler().alphas_cumprod[t].view(-1, 1, 1, 1)
    return alphas.sqrt(), (1 - alphas).sqrt()


def noisy_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Draw timesteps [count] from 20 to 980, more of them noisy, as in the teacher's training."""
    u = torch.rand(count, generator=generator)
    return (20 + 960 * SHIFT * u / (1 + (SHIFT - 1) * u)).long()


@torch.no_grad()
def direction(teacher: TextToLatent, critic: TextToLatent, x0: Tensor, ids: Tensor, g: torch.Generator) -> Tensor:
    """Return the gradient of the reverse KL for samples x0 [b, 16, 8, 8], normalised per sample (DMD, eq. 8)."""
    t = noisy_timesteps(len(x0), g)
    a, s = amplitudes(t)
    x = a * x0 + s * torch.randn(x0.shape, generator=g)
    empty = token_ids([""]).expand(len(ids), -1)
    both = teacher(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, ids]))
    unconditional, conditional = both.chunk(2)
    scale = torch.where(t >= GUIDED_ABOVE, GUIDANCE, 1.0).view(-1, 1, 1, 1)
    real = clean(x, unconditional + scale * (conditional - unconditional), t)
    fake = clean(x, critic(x, t, ids), t)
    return (fake - real) / (x0 - real).abs().mean((1, 2, 3), keepdim=True)


def train(out: Path, *, name: str, count: int, steps: int, size: int, lr: float) -> None:
    """Match the student's distribution to the teacher's; reads out/sd and out/turbo, writes out/NAME/model."""
    teacher, vae = load(out / "sd" / "model")
    student, _ = load(out / "turbo" / "model")
    teacher.requires_grad_(False).eval()
    anchors = turbo.pairs(teacher, vae, count, out / "turbo")
    critic = deepcopy(teacher)
    both = nn.ModuleList([student, critic]).requires_grad_(True)
    rng = np.random.default_rng(23)
    prompts = token_ids([world.sample(rng)[0]["prompt"] for _ in range(PROMPTS)])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        ids = prompts[torch.randint(PROMPTS, (size,), generator=generator)]
        x0 = turbo.unrolled(student, torch.randn(size, 16, 8, 8, generator=generator), ids, generator)
        matched = (x0 * direction(teacher, critic, x0.detach(), ids, generator)).mean()
        t, eps = noisy_timesteps(size, generator), torch.randn(x0.shape, generator=generator)
        a, s = amplitudes(t)
        fixed = x0.detach()
        learned = (critic(a * fixed + s * eps, t, ids) - (a * eps - s * fixed)).square().mean()
        return matched + learned + ANCHOR * turbo.regression(student, anchors, size // 2, generator)

    fit(
        both,
        loss,
        folder=out / name,
        steps=steps,
        lr=lr,
        slow={"0.": STUDENT_RATE},
        ema_decay=0.99,
        weight_decay=0.0,
        save_every=100,
        seed=2,
    )
    save_pipeline(student, vae, out / name / "model", settings={"steps": 1, "guidance_scale": 0.0, "batch_size": 16})
