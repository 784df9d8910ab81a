"""Accuracy of the exact judge of the Shapes world on renders of known scenes, per tag; `--json` prints it as JSON.

    python benchmarks/detector.py --count 1000

Rows: pictures that show their prompt, clean or degraded, must be accepted; clean pictures of a prompt with one changed
attribute must be rejected. Half of the prompts are from the training grammar, half from the held-out set.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from verifiers.detect.geneval import evaluate

Picture = np.ndarray  # uint8 [h, w, 3]


def draw(tag: str, count: int, seed: int) -> list[tuple[world.Spec, Picture]]:
    """Draw prompts of a tag with a render that shows each: training ones and held-out ones in turn."""
    rng = np.random.default_rng((seed, world.TAGS.index(tag)))
    held_out = [line for line in world.benchmark() if line["tag"] == tag]
    pairs = []
    for i in range(count):
        line, scene = world.sample(rng, tag)
        if i % 2:
            line = held_out[rng.integers(len(held_out))]
            scene = world.scene_for(line, rng)
        pairs.append((line, np.asarray(world.render(scene))))
    return pairs


def changed(line: world.Spec, rng: np.random.Generator) -> world.Spec:
    """Return the prompt with one attribute changed, so that a picture of the old one does not show it."""
    include = [dict(clause) for clause in line["include"]]
    used = {clause["class"] for clause in include}
    at = int(rng.integers(len(include)))
    edits = ["class"] + [key for key in ("color", "position") if any(key in clause for clause in include)]
    edit = rng.choice([*edits, "count"] if line["tag"] == "counting" else edits)
    if edit == "class":
        include[at]["class"] = str(rng.choice([shape for shape in world.SHAPES if shape not in used]))
    elif edit == "color":
        include[at]["color"] = str(rng.choice([color for color in world.COLORS if color != include[at]["color"]]))
    elif edit == "count":
        include[0]["count"] = {2: 3, 3: int(rng.choice([2, 4])), 4: 3}[include[0]["count"]]
    else:
        inverse = dict(zip(world.RELATIONS, ("right of", "left of", "below", "above"), strict=True))
        include[1]["position"] = [inverse[include[1]["position"][0]], 0]
    return world.spec(line["tag"], include)


def blurred(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blur a picture by a Gaussian with sigma 0.7 pixels."""
    blurry: Picture = ndimage.gaussian_filter(picture.astype(np.float32), (0.7, 0.7, 0))
    return blurry.round().astype(np.uint8)


def noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add independent noise of standard deviation 6 to every channel."""
    return (picture + rng.normal(0, 6, picture.shape)).round().clip(0, 255).astype(np.uint8)


def tinted(picture: Picture, rng: np.random.Generator) -> Picture:
    """Shift the colour of the whole picture by at most 8."""
    return (picture + rng.integers(-8, 9, 3)).clip(0, 255).astype(np.uint8)


def table(count: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the share of right verdicts in [0, 1], row -> tag -> share."""
    detector = ShapesDetector()
    disturb: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
        "clean": lambda picture, rng: picture,
        "blur": blurred,
        "noise": noisy,
        "tint": tinted,
    }
    rows: dict[str, dict[str, float]] = {row: {} for row in (*disturb, "changed prompt")}
    for tag in world.TAGS:
        pairs = draw(tag, count, seed)
        rng = np.random.default_rng(seed)
        for row, change in disturb.items():
            rows[row][tag] = float(np.mean([evaluate(change(p, rng), line, detector).correct for line, p in pairs]))
        wrong = [evaluate(p, changed(line, rng), detector).correct for line, p in pairs]
        rows["changed prompt"][tag] = 1 - float(np.mean(wrong))
    return rows


def main() -> None:
    """Print the table and the time per picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="renders per tag (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    start = time.perf_counter()
    rows = table(args.count, args.seed)
    judged = args.count * len(world.TAGS) * len(rows)
    speed = 1000 * (time.perf_counter() - start) / judged
    if args.json:
        print(json.dumps({"count": args.count, "right": rows, "ms_per_picture": speed}, indent=1))
        return
    print(" " * 15 + "".join(f"{tag:>15}" for tag in world.TAGS))
    for row, right in rows.items():
        print(f"{row:15}" + "".join(f"{right[tag]:15.4f}" for tag in world.TAGS))
    print(f"{args.count} renders per tag and row, {speed:.1f} ms each with rendering and degradation")


if __name__ == "__main__":
    main()
