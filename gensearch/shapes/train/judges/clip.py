"""Train `shapes/clip` and `shapes/clip-holdout`: open_clip models of the Shapes world with a sigmoid loss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gensearch.shapes import drawing, world
from gensearch.shapes.train.judges.matches import facts, matches, near_misses
from gensearch.shapes.train.loop import fit
from gensearch.shapes.train.pictures.data import PROMPT_LENGTH, token_ids, tokenizer, vocabulary

TEXT = {
    "context_length": PROMPT_LENGTH,
    "vocab_size": len(vocabulary()),
    "hf_tokenizer_name": "tokenizer",
    "width": 128,
    "heads": 4,
    "layers": 3,
    "pool_type": "eos",
    "eos_id": vocabulary().index("<eos>"),
    "pad_id": 0,
}
VISION: dict[str, dict[str, Any]] = {
    "clip": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 24, "head_width": 48},
    "clip-holdout": {"image_size": 64, "layers": 4, "width": 160, "head_width": 40, "patch_size": 8},
}
PREPROCESS = {"size": 64, "mean": [0.85, 0.82, 0.84], "std": [0.25, 0.27, 0.25], "interpolation": "bicubic"}


def config(name: str) -> dict[str, Any]:
    """Return the open_clip model configuration."""
    return {
        "embed_dim": 128,
        "init_logit_bias": -6.0,
        "init_logit_scale": 2.3,
        "vision_cfg": VISION[name],
        "text_cfg": TEXT,
    }


def blob(rng: np.random.Generator, thing: world.Thing) -> list[drawing.Polygon]:
    """Return a malformed object that counts as none: a mixture of two shapes, or one of two colours."""
    other = str(rng.choice([s for s in world.SHAPES if s != thing.shape]))
    a, b = (ring_points(drawing.outline(s)) for s in (thing.shape, other))
    mixed = (1 - (w := rng.uniform(0.4, 0.6))) * a + w * b
    corners = mixed * thing.radius + np.array([thing.x, thing.y])
    color = world.COLORS[thing.color]
    if rng.random() < 0.5:
        return [(corners.tolist(), color)]
    second = world.COLORS[str(rng.choice([c for c in world.COLORS if c != thing.color]))]
    whole = a * thing.radius + np.array([thing.x, thing.y])
    half = np.clip(whole, None, [64, thing.y]) if rng.random() < 0.5 else np.clip(whole, None, [thing.x, 64])
    return [(whole.tolist(), color), (half.tolist(), second)]


def ring_points(corners: list[tuple[float, float]], count: int = 72) -> np.ndarray:
    """Resample an outline to `count` points by angle from the centre, so that two outlines can be mixed."""
    points = np.array([*corners, corners[0]])
    steps = np.linspace(0, 1, 24, endpoint=False)[:, None]
    dense = np.concatenate([p + (q - p) * steps for p, q in zip(points[:-1], points[1:], strict=True)])
    order = np.argsort(np.arctan2(dense[:, 1], dense[:, 0]))
    return np.asarray(dense[order][np.linspace(0, len(dense) - 1, count).astype(int)])


def draw(rng: np.random.Generator) -> tuple[world.Spec, tuple[world.Thing, ...], np.ndarray]:
    """Draw a prompt, the well-formed objects of a picture that may or may not show it, and the picture."""
    line, scene = world.sample(rng)
    things, extra = list(scene.things), []
    if rng.random() < 0.4:
        i = int(rng.integers(len(things)))
        match int(rng.integers(4)):
            case 0 if len(things) > 1:
                things.pop(i)
            case 1 if len(things) < 5:
                x, y, radius = world.place(rng, 1)[0]
                added = replace(things[i], x=x, y=y, radius=min(radius, 9.0))
                if all(np.hypot(x - t.x, y - t.y) > added.radius + t.radius + 1 for t in things):
                    things.append(added)
            case _:
                extra = blob(rng, things.pop(i))
    image = world.render(replace(scene, things=tuple(things)), extra=extra)
    return line, tuple(things), np.asarray(image)


def degrade(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blur pictures [b, 3, h, w] in [0, 1] and add noise, about as much as a small autoencoder does."""
    sigma = torch.rand(len(x), generator=generator) * 0.9 + 0.05
    taps = torch.exp(-torch.arange(-2, 3).float().square() / (2 * sigma[:, None] ** 2))
    taps = taps / taps.sum(1, keepdim=True)
    kernel = (taps[:, :, None] * taps[:, None, :]).repeat_interleave(3, 0)[:, None]
    soft = F.conv2d(F.pad(x, (2,) * 4, mode="replicate").flatten(0, 1)[None], kernel, groups=3 * len(x))
    soft = soft.view_as(x) + 0.02 * torch.randn(x.shape, generator=generator)
    return soft.clamp(0, 1)


def batch(size: int, misses: int, seed: int, step: int) -> tuple[Tensor, list[str], Tensor, Tensor]:
    """Return pictures, prompts (one each, then near misses), labels [b, t] and weights [b, t] of one step."""
    rng = np.random.default_rng((seed, step))
    lines, scenes, images = zip(*(draw(rng) for _ in range(size)), strict=True)
    wrong = [other for line in lines for other in near_misses(rng, line, misses)]
    labels = torch.from_numpy(matches(facts(scenes), [*lines, *wrong]))
    weights = weigh(labels, misses)
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    x = degrade(x, torch.Generator().manual_seed(seed * 7919 + step))
    return x, [line["prompt"] for line in (*lines, *wrong)], labels.float(), weights


def weigh(labels: Tensor, misses: int) -> Tensor:
    """Return weights [b, t] of pairs: true pairs count more, and pairs of a picture and its own prompts most."""
    one = torch.eye(len(labels))
    return 1 + 3 * torch.cat([one, one.repeat_interleave(misses, 1)], 1) + 2 * labels


def normalise(x: Tensor) -> Tensor:
    """Normalise pictures in [0, 1] for the vision tower."""
    mean, std = (torch.tensor(PREPROCESS[k]).to(x.device).view(3, 1, 1) for k in ("mean", "std"))
    return (x - mean) / std


def sigmoid_loss(model: Any, x: Tensor, ids: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the sigmoid loss of all pairs, labels and weights [b, t] (SigLIP, Zhai et al. 2023, arXiv:2303.15343)."""
    image = model.encode_image(normalise(x), normalize=True)
    text = model.encode_text(ids, normalize=True)
    logits = (image @ text.T).float() * model.logit_scale.exp() + model.logit_bias
    return (weights * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")).sum() / weights.sum()


def train(out: Path, *, name: str, steps: int, size: int, misses: int, lr: float, seed: int) -> None:
    """Fit the pair-wise sigmoid loss; writes out/NAME/model."""
    import open_clip

    torch.manual_seed(seed)
    model = open_clip.CLIP(**config(name))

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x, prompts, labels, weights = batch(size, misses, 100 + seed, step)
        return sigmoid_loss(model, x, token_ids(prompts), labels, weights)

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.05, save_every=250, seed=seed)
    export(model, config(name), tokenizer(), out / name / "model")


def export(model: Any, settings: dict[str, Any], words: Any, folder: Path) -> None:
    """Write an open_clip folder in fp16 safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    size = settings["vision_cfg"]["image_size"]
    weights = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    text = json.dumps({"model_cfg": settings, "preprocess_cfg": PREPROCESS | {"size": size}}, indent=2)
    (folder / "open_clip_config.json").write_text(text + "\n")
    words.save_pretrained(folder)
