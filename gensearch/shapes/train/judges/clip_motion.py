"""Train `shapes/clip-motion`: an open_clip model that scores motion from four frames of a clip in one picture.

Its vision tower starts from that of `shapes/clip-holdout`. It is also trained on beginnings of clips. Labels are the
tracker's rules on the known places of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from gensearch.shapes import clips, tracker, world
from gensearch.shapes.drawing import COLORS, SHAPES, SIZE, Scene, Thing, render
from gensearch.shapes.train.clips.video import token_ids
from gensearch.shapes.train.clips.video_network import WORDS, words
from gensearch.shapes.train.judges import clip
from gensearch.shapes.train.judges.matches import taught
from gensearch.shapes.train.loop import Batches, accelerator, fit
from gensearch.shapes.world import Spec
from verifiers.video.grid import grid

SIDE = 2  # frames along one side of the picture
SHOWN = (0, 4, 8, 12)  # the frames in it, one for each latent frame
LENGTHS, SHARES = clips.CHUNKS, (0.1, 0.15, 0.2, 0.55)  # frames of a clip in progress, and the share of each
SPOILT = 0.4  # share of clips in which an object is changed, removed or added
VISION = {**clip.VISION["clip-holdout"], "image_size": SIDE * SIZE}
TEXT = {**clip.TEXT, "width": 96, "context_length": WORDS, "vocab_size": len(clips.words())}
CONFIG = {**clip.config("clip-holdout"), "vision_cfg": VISION, "text_cfg": TEXT}

Film = Sequence[Scene]


def build() -> Any:
    """Return an untrained model with the vision tower of `shapes/clip-holdout`; its positions repeat in each frame."""
    import open_clip

    model = open_clip.CLIP(**CONFIG)
    held = load_file(str(files("gensearch") / "shapes" / "weights" / "clip-holdout" / "open_clip_model.safetensors"))
    vision = {name.removeprefix("visual."): x.float() for name, x in held.items() if name.startswith("visual.")}
    own, places = vision["positional_embedding"][:1], vision["positional_embedding"][1:]
    side = round(len(places) ** 0.5)
    tiled = places.view(side, side, -1).repeat(SIDE, SIDE, 1)
    drawn = torch.Generator().manual_seed(0)
    frame = torch.randn(SIDE, SIDE, tiled.shape[-1], generator=drawn) * 0.02  # so that frames can be distinguished
    tiled = tiled + frame.repeat_interleave(side, 0).repeat_interleave(side, 1)
    vision["positional_embedding"] = torch.cat([own, tiled.flatten(0, 1)])
    model.visual.load_state_dict(vision)
    return model


# --- clips and their labels


def spoil(film: Film, rng: np.random.Generator) -> list[Scene]:
    """Return the clip with one object too many or, from some frame on, of another shape or colour, or removed."""
    return crowd(film, rng) if rng.random() < 0.4 else change(film, rng)


def crowd(film: Film, rng: np.random.Generator) -> list[Scene]:
    """Return the clip with one more object beside another, mostly a copy of it; unchanged if there is no room."""
    victim, twin = int(rng.integers(2)), rng.random() < 0.7
    shape, color = ("", "") if twin else (str(rng.choice(SHAPES)), str(rng.choice(list(COLORS))))
    for dx, dy in rng.integers(-4, 5, (clips.TRIES, 2)) * clips.GRID:
        crowded = []
        for scene in film:
            own = scene.things[victim % len(scene.things)] if scene.things else None
            added = [Thing(shape or own.shape, color or own.color, own.x + dx, own.y + dy, own.radius)] if own else []
            crowded.append(replace(scene, things=(*scene.things, *added)))
        if all(roomy(scene) for scene in crowded):
            return crowded
    return list(film)


def roomy(scene: Scene) -> bool:
    """Return whether all objects are inside the picture and apart."""
    at = np.array([(thing.x, thing.y) for thing in scene.things]).reshape(-1, 2)
    apart = np.abs(at[:, None] - at).max(-1)[~np.eye(len(at), dtype=bool)]
    inside = np.abs(at - SIZE / 2) <= SIZE / 2 - clips.RADIUS
    return bool(inside.all() and (apart >= 2 * clips.RADIUS + clips.GAP).all())


def change(film: Film, rng: np.random.Generator) -> list[Scene]:
    """Return the clip with one object, from some frame on, of another shape or colour, or removed."""
    start, victim, way = int(rng.integers(1, clips.FRAMES)), int(rng.integers(2)), int(rng.integers(3))
    shape, color = str(rng.choice(SHAPES)), str(rng.choice(list(COLORS)))

    def changed(scene: Scene) -> Scene:
        things = list(scene.things)
        if things:
            thing = things.pop(victim % len(things))
            if way < 2:
                things.append(replace(thing, shape=shape) if way else replace(thing, color=color))
        return replace(scene, things=tuple(things))

    return [changed(scene) if number >= start else scene for number, scene in enumerate(film)]


def sighting(number: int, thing: Thing) -> tracker.Sighting:
    """Return the sighting of an object that a perfect detector would give the tracker."""
    at, (least, most) = np.array([thing.x, thing.y]), clips.extent(thing.shape)
    box = (*(at + thing.radius * least), *(at + thing.radius * most))
    return tracker.Sighting(number, thing.shape, thing.color, thing.x, thing.y, box)


def shows(films: Sequence[Film], lengths: Sequence[int], lines: Sequence[Spec]) -> Tensor:
    """Return labels [films, prompts]: 1 if the first frames of the film are right for the prompt."""
    asked = [{(c["class"], c["color"]) for c in line["include"]} for line in lines]
    out = torch.zeros(len(films), len(lines))
    for row, (film, length) in enumerate(zip(films, lengths, strict=True)):
        observed = [[sighting(i, thing) for thing in scene.things] for i, scene in enumerate(film[:length])]
        there = {(s.shape, s.color) for frame in observed for s in frame}
        for column, line in enumerate(lines):
            if there <= asked[column]:
                out[row, column] = tracker.correct(tracker.judge(observed, line, length == clips.FRAMES))
    return out


def near_miss(rng: np.random.Generator, line: Spec) -> Spec:
    """Return a prompt that differs in one motion, mostly, or in one shape or colour."""
    while True:
        objects = [[c["class"], c["color"], c["motion"]] for c in line["include"]]
        one = objects[int(rng.integers(len(objects)))]
        match int(rng.integers(6)):
            case 0:
                one[0] = str(rng.choice(SHAPES))
            case 1:
                one[1] = str(rng.choice(list(COLORS)))
            case 2 if len(objects) == 2:
                objects[0][2], objects[1][2] = objects[1][2], objects[0][2]
            case _:
                one[2] = str(rng.choice(clips.phrases(line["tag"])))
        apart = len({shape for shape, _, _ in objects}) == len(objects)
        other = clips.spec(line["tag"], [(s, c, m) for s, c, m in objects])
        if apart and other != line:
            return other


def near_misses(rng: np.random.Generator, line: Spec, count: int) -> list[Spec]:
    """Return near misses without held-out pairs.

    Raises:
        ValueError: if the prompt itself names a held-out pair.
    """
    if world.asks_held_out(line):
        raise ValueError(f"{line['prompt']!r} names a held-out pair; train on others")
    return taught(partial(near_miss, rng, line), count)


def batch(size: int, misses: int, seed: int, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pictures [b, 3, 128, 128], prompts and near misses as ids [t, 20], labels [b, t] and weights [b, t]."""
    rng = np.random.default_rng((seed, step))
    lines, drawn = zip(*(clips.sample(rng) for _ in range(size)), strict=True)
    films = [[one.scene(frame) for frame in range(clips.FRAMES)] for one in drawn]
    films = [spoil(film, rng) if rng.random() < SPOILT else film for film in films]
    lengths = rng.choice(LENGTHS, size, p=SHARES).tolist()
    asked = [*lines, *(other for line in lines for other in near_misses(rng, line, misses))]
    labels = shows(films, lengths, asked)
    frames = np.stack([np.asarray(render(film[frame])) for film in films for frame in SHOWN])
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    x = clip.degrade(x, torch.Generator().manual_seed(seed * 7919 + step)).view(size, len(SHOWN), *x.shape[1:])
    there = torch.tensor([[frame < length for frame in SHOWN] for length in lengths])
    ids = token_ids([line["prompt"] for line in asked])
    return grid(x, there, SIDE), ids, labels, clip.weigh(labels, misses)


def train(out: Path, *, name: str, steps: int, size: int, misses: int, lr: float, seed: int) -> None:
    """Fit the pair-wise sigmoid loss; writes out/NAME/model."""
    torch.manual_seed(seed)
    device = accelerator()
    model = build().to(device)
    batches = Batches(partial(batch, size, misses, 300 + seed), steps)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        x, ids, labels, weights = (part.to(device) for part in batches(step))
        return clip.sigmoid_loss(model, x, ids, labels, weights)

    fit(model, loss, folder=out / name, steps=steps, lr=lr, weight_decay=0.05, save_every=50, seed=seed)
    clip.export(model, CONFIG, words(), out / name / "model")
