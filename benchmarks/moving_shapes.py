"""Accuracy of a video model on the moving Shapes: python benchmarks/moving_shapes.py [FOLDER] [--json FILE].

Runs an AnyFlowFARPipeline, the embedded one by default, on 32 held-out prompts of each of the four tags, with the
settings of its gensearch.json. Prints the results of the exact judge: success per tag, success per aspect, the share of
clips that are right up to each latent frame, and success of the best of n clips by that judge. --flow runs the first
training stage instead, by guided Euler steps. --sheet draws every eighth clip, one per row.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gensearch.models.chunks.dense_attention import dense_attention
from gensearch.shapes import clips, tracker
from gensearch.shapes.judge import pixels
from gensearch.shapes.world import Spec


@torch.no_grad()
def generate(pipe: Any, prompts: list[str], seeds: list[int], call: dict[str, Any], size: int = 16) -> list[np.ndarray]:
    """Generate clips uint8 [13, 64, 64, 3], each from its own seed."""
    out: list[np.ndarray] = []
    for start in range(0, len(prompts), size):
        rows = slice(start, start + size)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[rows]]
        with dense_attention(torch.device("cpu"), {}):
            frames = pipe(prompts[rows], generator=generators, output_type="pt", **call).frames
        out += [np.stack([pixels(frame) for frame in clip]) for clip in frames]
        print(f"{len(out)} of {len(prompts)} clips", flush=True)
    return out


def scores(lines: list[Spec], movies: list[np.ndarray]) -> dict[str, Any]:
    """Return success per tag, overall and per aspect, and the share of clips that are right up to each latent frame."""
    tags, aspects, until = defaultdict(list), defaultdict(list), []
    for line, movie in zip(lines, movies, strict=True):
        observed = tracker.sightings(movie)
        verdict = tracker.judge(observed, line)
        tags[line["tag"]].append(tracker.correct(verdict))
        until.append(tracker.right_until(observed, line))
        for aspect, right in verdict.items():
            if right is not None:
                aspects[aspect].append(right)
    by_tag = {tag: float(np.mean(values)) for tag, values in tags.items()}
    return {
        "clips": len(lines),
        "overall": float(np.mean(list(by_tag.values()))),
        "tags": by_tag,
        "aspects": {aspect: float(np.mean(values)) for aspect, values in aspects.items()},
        "right_until": {str(end): float(np.mean(np.array(until) >= end)) for end in clips.CHUNKS},
    }


def best_of(lines: list[Spec], movies: list[np.ndarray], counts: tuple[int, ...]) -> dict[str, float]:
    """Return the mean over tags of the share of prompts with a right clip among the first n of their `movies`."""
    right = np.array(
        [tracker.correct(tracker.judge(tracker.sightings(m), x)) for x, m in zip(lines, movies, strict=True)]
    )
    prompts = list(dict.fromkeys(line["prompt"] for line in lines))
    right = right.reshape(-1, len(prompts))
    tag = np.array([line["tag"] for line in lines[: len(prompts)]])
    return {
        str(n): float(np.mean([right[:n, tag == name].any(0).mean() for name in clips.TAGS]))
        for n in counts
        if n <= len(right)
    }


def sheet(movies: list[np.ndarray]) -> Image.Image:
    """Draw one clip per row, frames from left to right at twice their size."""
    page = Image.fromarray(np.concatenate([np.concatenate(list(movie), 1) for movie in movies]))
    return page.resize((2 * page.width, 2 * page.height), Image.Resampling.NEAREST)


def main() -> None:
    """Generate clips, judge them and print the results."""
    from diffusers import AnyFlowFARPipeline

    parser = argparse.ArgumentParser(description=__doc__)
    embedded = files("gensearch") / "shapes" / "weights" / "video"
    parser.add_argument("folder", type=Path, nargs="?", default=Path(str(embedded)))
    parser.add_argument("--per-tag", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1, help="clips for each prompt")
    parser.add_argument("--steps", type=int, help="per chunk (default: those of gensearch.json)")
    parser.add_argument("--flow", type=float, metavar="GUIDANCE", help="guided Euler steps of the flow")
    parser.add_argument("--sheet", type=Path, help="PNG of every eighth clip")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = json.loads((args.folder / "gensearch.json").read_text())
    pipe: Any = AnyFlowFARPipeline.from_pretrained(args.folder, use_safetensors=True, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    call = {key: settings[key] for key in ("height", "width", "num_frames", "max_sequence_length", "guidance_scale")}
    call["num_inference_steps"] = args.steps or settings["steps"]
    if args.flow:
        call |= {"guidance_scale": args.flow, "use_mean_velocity": False}
    lines = clips.benchmark(args.per_tag) * args.seeds
    movies = generate(pipe, [line["prompt"] for line in lines], list(range(len(lines))), call)
    found = scores(lines, movies) | {"best_of": best_of(lines, movies, (1, 2, 4, 8, 16))}
    print(json.dumps(found, indent=2))
    if args.sheet:
        sheet(movies[::8]).save(args.sheet)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
