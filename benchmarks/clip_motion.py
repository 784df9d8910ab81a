"""How good a judge of clips is a CLIP of the moving Shapes? python benchmarks/clip_motion.py [--judge J] [--model M].

Prints, by how much of a clip is there, (a) retrieval on clean held-out clips: the best of all benchmark prompts must be
true of the clip, and (b) the share of near misses that score below the true prompt; and (c) on clips of a model, the
rank correlation and the area under the ROC curve of the score against the exact judge, within prompts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_shapes import agreement

from gensearch import registry
from gensearch.models.load import load
from gensearch.shapes import clips
from gensearch.shapes.tracker import ShapesTracker
from gensearch.shapes.train import clip_motion
from verifiers.types import Media, Verifier


def clean(seed: int = 31) -> tuple[list[clips.Spec], list[clip_motion.Film], Media]:
    """One clip of each held-out prompt: as scenes, and as frames [n, 13, 3, 64, 64] in [0, 1]."""
    rng, lines = np.random.default_rng(seed), clips.benchmark()
    made = [clips.clip_for(line, rng) for line in lines]
    frames = np.stack([clips.draw(one) for one in made])
    films = [[one.scene(frame) for frame in range(clips.FRAMES)] for one in made]
    return lines, films, torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255


def retrieval(judge: Verifier, length: int) -> dict[str, float]:
    """Top-1 accuracy among all benchmark prompts, and the share of near misses that lose, on the first frames."""
    lines, films, media = clean()
    media, progress = media[:, :length], (1 + clips.CHUNKS.index(length)) / len(clips.CHUNKS)
    prompts = [line["prompt"] for line in lines]
    table = torch.stack([judge(media, [prompt] * len(media), progress=progress).total for prompt in prompts], 1)
    true = clip_motion.shows(films, [length] * len(films), lines).bool()
    rng, own, wins = np.random.default_rng(32), table.diagonal(), []
    for _ in range(4):
        others = [clip_motion.near_miss(rng, line) for line in lines]
        false = ~clip_motion.shows(films, [length] * len(films), others).bool().diagonal()
        wins.append((own > judge(media, [other["prompt"] for other in others], progress=progress).total)[false])
    found = true[torch.arange(len(table)), table.argmax(1)]
    return {"top1": float(found.float().mean()), "near_miss": float(torch.cat(wins).float().mean())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="shapes/clip-motion")
    parser.add_argument("--model", default="shapes/video")
    parser.add_argument("--clean", action="store_true", help="leave out the clips of the model")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    judge = registry.verifier(args.judge)
    with torch.no_grad():
        found: dict[str, Any] = {"judge": args.judge}
        found |= {f"{length} frames": retrieval(judge, length) for length in clips.CHUNKS}
        if not args.clean:
            found |= {"model": args.model, **agreement(judge, load(args.model), clips.benchmark(), ShapesTracker())}
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
