"""Peak memory of one gradient through generator, decoder and CLIP, with and without activation checkpointing.

    python benchmarks/gradient_memory.py                 # shapes/turbo
    python benchmarks/gradient_memory.py --size sd-turbo # random weights in the shape of SD-Turbo, 512 px, fp32

Each variant runs in a new process; the memory after loading is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

from gensearch import registry
from gensearch.core.ledger import Ledger
from gensearch.core.noise import randn
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.search.gradient.climb import climb


def sd_turbo() -> Any:
    """Build SD-Turbo's UNet and autoencoder (those of Stable Diffusion 2.1) and a small text encoder, all untrained."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from gensearch.shapes.train.pictures.data import tokenizer, vocabulary

    cross, plain = "CrossAttn", ""
    unet = UNet2DConditionModel(
        sample_size=64,
        cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in (cross, cross, cross, plain)),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in (plain, cross, cross, cross)),
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=len(vocabulary()), hidden_size=1024, num_hidden_layers=1, max_position_embeddings=77)
    )
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing")
    extras = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    parts = {"vae": vae, "text_encoder": text, "unet": unet, "tokenizer": tokenizer(), "scheduler": scheduler}
    pipeline = StableDiffusionPipeline(**parts, **extras)
    for part in (unet, vae, text):
        part.requires_grad_(False)
    return pipeline


def measure(size: str, way: str, batch: int) -> dict[str, float]:
    """Run one variant in this process and return peak MiB after loading and after the gradient, and its seconds."""
    if size == "shapes":
        model: Any = registry.load_model("shapes/turbo", batch_size=batch)
    else:
        model = StableDiffusion(sd_turbo(), steps=1, guidance_scale=0, batch_size=batch)
    verifier = registry.verifier("shapes/clip")
    loaded, started = peak(), time.perf_counter()
    if way != "load":
        recipes = [(("gaussian", seed),) for seed in range(batch)]
        prompts, noise = ["a photo of a star"] * batch, randn(range(batch), model.noise_shape)
        found = climb(model, verifier, prompts, [noise], recipes, way == "recomputed")
        (slope,) = found.slope(model, Ledger())
        assert bool(slope.any())
    return {"loaded": loaded, "peak": peak(), "seconds": time.perf_counter() - started}


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Print MiB and seconds of each variant as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["shapes", "sd-turbo"], default="shapes")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--way", choices=["kept", "recomputed"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.size, args.way, args.batch)))
        return
    found = {}
    for way in ("kept", "recomputed"):
        command = [sys.executable, __file__, "--size", args.size, "--batch", str(args.batch), "--way", way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps({"size": args.size, "batch": args.batch, "threads": torch.get_num_threads(), **found}, indent=1))


if __name__ == "__main__":
    main()
