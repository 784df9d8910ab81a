"""Train an embedded model from its recipe: python -m gensearch.shapes.train configs/shapes/sd.yaml --out runs/shapes.

Recipes read each other's results from the same --out folder, in the orders vae, sd, turbo, turbo_dmd; vq, vq_decoder,
janus, janus_looks, value; and video_vae, video_decoder, video, video_map. The CLIP models depend on no other recipe.
The same command resumes an interrupted run from its last checkpoint.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

import yaml

from gensearch.shapes.train.clips import video, video_map, video_vae
from gensearch.shapes.train.judges import clip, clip_motion, critic, pools
from gensearch.shapes.train.pictures import dmd, sd, turbo, vae
from gensearch.shapes.train.tokens import janus, value, vq

TRAINERS: dict[str, Callable[..., None]] = {
    "vae": vae.train,
    "sd": sd.train,
    "turbo": turbo.train,
    "turbo-dmd": dmd.train,
    "vq": vq.train,
    "vq-decoder": vq.train_decoder,
    "janus": janus.train,
    "janus-looks": janus.train_vision,
    "value": value.train,
    "video_vae": video_vae.train,
    "video_decoder": video_vae.train_decoder,
    "video": video.train,
    "video_map": video_map.train,
    "clip": clip.train,
    "clip-holdout": clip.train,
    "clip-motion": clip_motion.train,
    "pools": pools.train,
    "critic": critic.train,
    "critic-holdout": critic.train,
}


def main() -> None:
    """Read the recipe, refuse unknown keys, and train."""
    parser = argparse.ArgumentParser(prog="python -m gensearch.shapes.train", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and results")
    args = parser.parse_args()
    recipe = yaml.safe_load(args.recipe.read_text())
    name = recipe.pop("model", None)
    if name not in TRAINERS:
        parser.error(f"{args.recipe}: model is {name!r}; it must be one of {', '.join(TRAINERS)}")
    known = set(inspect.signature(TRAINERS[name]).parameters) - {"out", "name"}
    if unknown := set(recipe) - known:
        parser.error(f"{args.recipe}: unknown keys {sorted(unknown)}; {name} takes {', '.join(sorted(known))}")
    TRAINERS[name](args.out, name=name, **recipe)


if __name__ == "__main__":
    main()
