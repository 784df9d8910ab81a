"""Accuracy of a CLIP of the moving Shapes as a verifier: python benchmarks/clip_motion.py FOLDER [--model M].

Prints, for each number of frames, (a) retrieval on clean held-out clips: the best of all benchmark prompts must be true
of the clip, and (b) the share of near misses that score below the true prompt; and (c) on clips of a model, the rank
correlation and the area under the ROC curve of the score against the exact judge, within prompts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from clip_shapes import agreement, features

from gensearch.models.load import load
from gensearch.shapes import clips
from gensearch.shapes.drawing import Scene
from gensearch.shapes.tracker import ShapesTracker
from gensearch.shapes.train.judges import clip_motion
from gensearch.shapes.world import Spec
from verifiers.embedding.clip import CLIPScore
from verifiers.types import Media
from verifiers.video.grid import Grid

Shown = tuple[list[Spec], list[list[Scene]], Media]


def clean(seed: int = 31) -> Shown:
    """Draw one clip of each held-out prompt, as scenes and as frames [n, 13, 3, 64, 64] in [0, 1]."""
    rng, lines = np.random.default_rng(seed), clips.benchmark()
    made = [clips.clip_for(line, rng) for line in lines]
    frames = np.stack([clips.draw(one) for one in made])
    films = [[one.scene(frame) for frame in range(clips.FRAMES)] for one in made]
    return lines, films, torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255


def retrieval(verifier: Grid, length: int, shown: Shown) -> dict[str, float]:
    """Return top-1 accuracy among all benchmark prompts and the share of near misses with a lower score."""
    (lines, films, media), clip = shown, cast(CLIPScore, verifier.judge)
    images = features(clip, verifier.pictures(media[:, :length]))

    def text(asked: list[Spec]) -> torch.Tensor:
        return torch.stack([clip.text_features(line["prompt"]) for line in asked])

    table = images @ text(lines).T
    true = clip_motion.shows(films, [length] * len(films), lines).bool()
    rng, wins = np.random.default_rng(32), []
    for _ in range(4):
        others = [clip_motion.near_miss(rng, line) for line in lines]
        false = [
            clip_motion.shows([film], [length], [other]).item() == 0 for film, other in zip(films, others, strict=True)
        ]
        wins.append((table.diagonal() > (images * text(others)).sum(1))[torch.tensor(false)])
    found = true[torch.arange(len(table)), table.argmax(1)]
    return {"top1": float(found.float().mean()), "near_miss": float(torch.cat(wins).float().mean())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of the model that the recipe clip_motion trains")
    parser.add_argument("--model", default="shapes/video")
    parser.add_argument("--clips", type=int, default=16, help="of the model, for each prompt")
    parser.add_argument("--clean", action="store_true", help="leave out the clips of the model")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    verifier = Grid(CLIPScore.load(args.folder), clips.FRAMES)
    with torch.no_grad():
        found: dict[str, Any] = {"judge": args.folder}
        shown = clean()
        found |= {f"{length} frames": retrieval(verifier, length, shown) for length in clips.CHUNKS}
        if not args.clean:
            found |= {
                "model": args.model,
                **agreement(verifier, load(args.model), clips.benchmark(), ShapesTracker(), args.clips),
            }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
