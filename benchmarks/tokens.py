"""The cost of our loop over a Janus against transformers' `generate`, and of MILR against as many plain pictures.

    python benchmarks/tokens.py

On random weights in the shape of shapes/janus: pictures of 64 tokens with guidance. Results are ratios of times in one
process, medians of interleaved runs. Our contexts are padded to one length, so that no bit of a sample depends on the
rest of its batch; `generate` pads to the longest one, and for "padded" to our length. MILR with K updates is compared
with K + 1 plain pictures with the same plans.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any, cast

import torch
from transformers import JanusImageProcessor, JanusProcessor, JanusVQVAE, JanusVQVAEConfig

from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from gensearch.engine.run import run
from gensearch.models.tokens.janus import Janus, JanusPipeline
from gensearch.search.tokens.milr import milr
from gensearch.shapes import plans
from gensearch.shapes.train.tokens import janus, vq
from verifiers.controls.redness import Redness

PROMPT = "a photo of a red star and a blue ring"


def build(batch_size: int, **options: Any) -> Model:
    """Build a Janus of the size of shapes/janus."""
    words = janus.tokenizer()
    network = janus.build(words, JanusVQVAE(JanusVQVAEConfig(**vq.CONFIG))).eval()
    processor = JanusProcessor(JanusImageProcessor(size={"height": 64, "width": 64}), words, num_image_tokens=64)
    settings: dict[str, Any] = {"ask": plans.ASK, "draw": plans.DRAW, "draw_bare": plans.DRAW_BARE, **options}
    sizes: dict[str, Any] = {"text_length": 24, "context": janus.CONTEXT, "batch_size": batch_size}
    return cast(Model, Janus(JanusPipeline(network, processor), **sizes, **settings))


@torch.no_grad()
def theirs(model: Any, count: int, **padding: Any) -> None:
    """Generate and decode pictures by `generate`."""
    text = [plans.DRAW_BARE.replace("{prompt}", PROMPT)] * count
    inputs = model.pipeline.processor(text=text, generation_mode="image", return_tensors="pt", **padding)
    tokens = model.network.generate(
        inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        generation_mode="image",
        do_sample=True,
        top_k=0,
        guidance_scale=5.0,
    )
    model.network.decode_image_tokens(tokens)


@torch.no_grad()
def ours(model: Model, count: int) -> None:
    """Generate and decode pictures by our loop."""
    recipes = [(("gaussian", seed),) for seed in range(count)]
    generate(model, [PROMPT] * count, randn(range(count), model.noise_shape), recipes)


def timed(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, interleaved, after one warm-up run of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    bare, planned = build(args.batch, plan="none"), build(1, plan="greedy")
    k = args.iterations

    def pictures() -> None:
        for _ in range(k + 1):
            ours(planned, 1)

    seconds = timed(
        {
            "generate": lambda: theirs(bare, args.batch, padding=True),
            "padded": lambda: theirs(bare, args.batch, padding="max_length", max_length=janus.CONTEXT),
            "ours": lambda: ours(bare, args.batch),
            "pictures": pictures,
            "milr": lambda: run(milr, planned, Redness(), PROMPT, iterations=k - 1),
        },
        args.repeats,
    )
    ratios = {
        "ours / generate": seconds["ours"] / seconds["generate"],
        "ours / padded": seconds["ours"] / seconds["padded"],
        "milr / pictures": seconds["milr"] / seconds["pictures"],
    }
    print(json.dumps({"seconds": seconds, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
