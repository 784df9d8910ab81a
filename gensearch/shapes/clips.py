"""The moving Shapes world: clips of one or two moving coloured shapes, their prompts, and the held-out split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from itertools import product

import numpy as np

from gensearch.shapes import world
from gensearch.shapes.drawing import COLORS, SHAPES, SIZE, Scene, Thing, outline, render
from gensearch.shapes.world import Spec

FRAMES = 13  # one frame and three groups of four, which a Wan autoencoder encodes to four latent frames
CHUNKS = (1, 5, 9, 13)  # number of frames after each latent frame
TAGS = ("motion", "bounce", "change", "two")
TRAIN_MIX = {"motion": 0.25, "bounce": 0.12, "change": 0.12, "two": 0.51}
RADIUS = 10.0
BACKGROUND = (245, 245, 245)
GRID = 8  # pixels between initial positions: one latent pixel, so that equal motions have equal latents
SPEEDS = {"slow": 1, "fast": 2}  # pixels per frame: half a grid step, or one, in the four frames of a latent frame
TURN = (4, 8)  # frames until a bouncing object meets the wall
CHANGE = 5  # the first frame after something appeared or disappeared
GAP = 2.0  # least distance in pixels between the boxes of two objects
TRIES = 32  # pairs of paths that are drawn for two objects; the first one that keeps them apart is taken

Path = tuple[tuple[float, float] | None, ...]  # centre in every frame; None where the object is not there


# --- motions


@dataclass(frozen=True)
class Motion:
    """The motion of one object.

    Attributes:
        kind: "still", "move", "bounce", "appear" or "disappear".
        direction: (dx, dy) with y down, towards the wall for "bounce", (0, 0) for none.
        speed: "slow" or "fast" for "move", else empty.
    """

    kind: str
    direction: tuple[int, int] = (0, 0)
    speed: str = ""


def _motions() -> dict[str, Motion]:
    ways = {"to the left": (-1, 0), "to the right": (1, 0), "up": (0, -1), "down": (0, 1)}
    walls = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
    words = {"slow": "slowly", "fast": "fast"}
    out = {"standing still": Motion("still")}
    for (way, step), (speed, word) in product(ways.items(), words.items()):
        out[f"moving {word} {way}"] = Motion("move", step, speed)
    for wall, step in walls.items():
        out[f"bouncing off the {wall} wall"] = Motion("bounce", step)
    return out | {"appearing": Motion("appear"), "disappearing": Motion("disappear")}


MOTIONS = _motions()  # words of a prompt -> motion
KINDS = {
    "motion": ("still", "move"),
    "two": ("still", "move"),
    "bounce": ("bounce",),
    "change": ("appear", "disappear"),
}


def phrases(tag: str) -> list[str]:
    """Return the words of the motions that objects of a tag may have."""
    return [phrase for phrase, motion in MOTIONS.items() if motion.kind in KINDS[tag]]


# --- prompts


def spec(tag: str, objects: Sequence[tuple[str, str, str]]) -> Spec:
    """Return the metadata line of some objects: GenEval's schema with `motion` in every clause.

    Args:
        tag: one of `TAGS`.
        objects: (shape, colour, motion in words) of one or two.
    """
    include = [world.clause(shape, color) | {"motion": motion} for shape, color, motion in objects]
    text = " and ".join(f"{world.phrase(clause)} {clause['motion']}" for clause in include)
    return {"tag": tag, "include": include, "prompt": text}


def words() -> list[str]:
    """Return every word of the grammar, special tokens first."""
    spoken = ["a", "an", "and", *COLORS, *SHAPES, *" ".join(MOTIONS).split()]
    return ["<pad>", "<unk>", "<bos>", "<eos>", *dict.fromkeys(spoken)]


@cache
def _object() -> re.Pattern[str]:
    colors, shapes, motions = ("|".join(names) for names in (COLORS, SHAPES, MOTIONS))
    return re.compile(rf"an? ({colors}) ({shapes}) ({motions})")


def parse(prompt: str) -> Spec:
    """Return the metadata line of a prompt: the inverse of `spec`.

    Args:
        prompt: of the grammar, letter by letter.

    Raises:
        ValueError: for a prompt outside the grammar, with the nearest one.
    """
    found = [_object().fullmatch(part) for part in prompt.split(" and ")]
    objects = [(m[2], m[1], m[3]) for m in found if m]
    tags = TAGS[:3] if len(objects) == 1 else ("two",)
    line = next((spec(tag, objects) for tag in tags if all(o[2] in phrases(tag) for o in objects)), None)
    apart = len({shape for shape, _, _ in objects}) == len(objects) <= 2
    if line is None or line["prompt"] != prompt or not apart:
        known = [spec("motion", [(s, c, m)])["prompt"] for s, c, m in product(SHAPES, COLORS, MOTIONS)]
        near = get_close_matches(prompt, known, 1, 0.0)[0]
        raise ValueError(
            f"the moving Shapes world cannot read the prompt {prompt!r}; write for example {near!r}, or two such "
            "objects of different shapes, moving or standing still, joined by 'and'"
        )
    return line


def still(prompt: str) -> str:
    """Return the prompt of the Shapes world for a single frame: the same objects, without their motion.

    Args:
        prompt: of the moving Shapes world.

    Raises:
        ValueError: for a prompt outside the grammar.
    """
    objects = [world.clause(clause["class"], clause["color"]) for clause in parse(prompt)["include"]]
    return str(world.spec("color_attr" if len(objects) > 1 else "colors", objects)["prompt"])


# --- clips


@dataclass(frozen=True)
class Clip:
    """Objects, and the path of each over all frames."""

    things: tuple[Thing, ...]
    paths: tuple[Path, ...]

    def scene(self, frame: int) -> Scene:
        """Return the scene of one frame."""
        placed = [(thing, path[frame]) for thing, path in zip(self.things, self.paths, strict=True)]
        return Scene(tuple(replace(thing, x=at[0], y=at[1]) for thing, at in placed if at), BACKGROUND)


def draw(clip: Clip, frames: Sequence[int] = range(FRAMES)) -> np.ndarray:
    """Render frames of a clip, uint8 [n, 64, 64, 3]; equal frames are rendered once."""
    scenes = [clip.scene(frame) for frame in frames]
    pictures = {scene: np.asarray(render(scene)) for scene in dict.fromkeys(scenes)}
    return np.stack([pictures[scene] for scene in scenes])


@cache
def extent(shape: str) -> np.ndarray:
    """Return the corners (left, top) and (right, bottom) of the box of a shape, [2, 2] in radii from its centre."""
    corners = np.array(outline(shape))
    return np.stack([corners.min(0), corners.max(0)])


def centres(rng: np.random.Generator, motion: Motion, shape: str, count: int) -> np.ndarray:
    """Draw the centres of an object in every frame for `count` paths, [count, 13, 2], all inside the picture."""
    first, last = extent(shape)
    times, step = np.arange(FRAMES), np.array(motion.direction)
    travel = np.zeros((count, FRAMES))
    if motion.kind == "move":
        travel[:] = times * SPEEDS[motion.speed]
    elif motion.kind == "bounce":
        turn = rng.choice(TURN, (count, 1))
        travel = SPEEDS["fast"] * (turn - np.abs(times - turn))  # to the wall and back
    offsets = travel[..., None] * step
    least, most = 1 - RADIUS * first - offsets.min(1), SIZE - 1 - RADIUS * last - offsets.max(1)
    low, high = np.ceil(least / GRID - 0.5), np.floor(most / GRID - 0.5)
    start = GRID * (rng.integers(low, high, endpoint=True) + 0.5)
    if motion.kind == "bounce":
        start = np.where(step < 0, least, np.where(step > 0, most, start))
    return np.asarray(start[:, None] + offsets)


def path(motion: Motion, at: np.ndarray) -> Path:
    """Return centres [13, 2] as a path, with None for frames in which the object is not there."""
    hidden = {"appear": range(CHANGE), "disappear": range(CHANGE, FRAMES)}.get(motion.kind, range(0))
    return tuple(None if i in hidden else (x, y) for i, (x, y) in enumerate(at.tolist()))


def clip_for(line: Spec, rng: np.random.Generator) -> Clip:
    """Draw a clip that shows any prompt of the grammar, including held-out ones.

    Args:
        line: the metadata line of the prompt.
        rng: source of randomness.
    """
    motions = [MOTIONS[c["motion"]] for c in line["include"]]
    things = tuple(Thing(c["class"], c["color"], 0.0, 0.0, RADIUS) for c in line["include"])
    while True:
        tried = [centres(rng, motion, thing.shape, TRIES) for motion, thing in zip(motions, things, strict=True)]
        boxes = [at[..., None, :] + RADIUS * extent(thing.shape) for thing, at in zip(things, tried, strict=True)]
        one, other = boxes[0], boxes[-1]
        gaps = np.maximum(one[:, :, 0] - other[:, :, 1], other[:, :, 0] - one[:, :, 1]).max(2)
        clear = gaps.min(1) >= GAP
        if len(motions) == 1 or clear.any():
            way = clear.argmax()
            return Clip(things, tuple(path(motion, at[way]) for motion, at in zip(motions, tried, strict=True)))


def sample(rng: np.random.Generator, tag: str | None = None) -> tuple[Spec, Clip]:
    """Draw a training prompt and a clip that shows it, without any held-out pair.

    Args:
        rng: source of randomness.
        tag: the kind of prompt; drawn from `TRAIN_MIX` by default.
    """
    tag = tag or str(rng.choice(list(TRAIN_MIX), p=list(TRAIN_MIX.values())))
    while True:
        shapes = rng.choice(SHAPES, 2 if tag == "two" else 1, replace=False)
        kinds = rng.choice(KINDS[tag], len(shapes), p=[0.2, 0.8] if "move" in KINDS[tag] else None)
        motions = [str(rng.choice([p for p in phrases(tag) if MOTIONS[p].kind == kind])) for kind in kinds]
        objects = [(str(s), str(rng.choice(list(COLORS))), m) for s, m in zip(shapes, motions, strict=True)]
        if not world.is_held_out(tuple((shape, color) for shape, color, _ in objects)):
            line = spec(tag, objects)
            return line, clip_for(line, rng)


def benchmark(per_tag: int = 32) -> list[Spec]:
    """Return the metadata lines of the moving-Shapes benchmark, built from held-out pairs of shape and colour.

    Args:
        per_tag: most prompts of each tag; some tags have no more than 32.
    """
    rng, pairs = np.random.default_rng(7), sorted(world.HELD_OUT_PAIRS)
    chosen: dict[str, Spec] = {}
    for tag in TAGS:
        distinct = per_tag if tag == "two" else len(pairs) * len(phrases(tag))
        wanted = len(chosen) + min(per_tag, distinct)
        while len(chosen) < wanted:
            things = [pairs[i] for i in rng.choice(len(pairs), 2 if tag == "two" else 1, replace=False)]
            if len({shape for shape, _ in things}) == len(things):
                line = spec(tag, [(*thing, str(rng.choice(phrases(tag)))) for thing in things])
                chosen[line["prompt"]] = line
    return list(chosen.values())
