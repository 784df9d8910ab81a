"""Overhead of a training update of a noise hypernetwork over its network passes.

    python benchmarks/training.py --config shapes_turbo

Compares an update of the trainer with its necessary passes on the same batch: f forward; generator, decoder and reward
forward, and backward to the noise; f backward; optimiser. Prints median seconds of each, in turn, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator

from gensearch import registry
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from hypernoise.config import TrainConfig, make_config
from hypernoise.form import build, lookable
from hypernoise.network import trainable
from hypernoise.prompts import read_prompts, split
from hypernoise.train import Trainer, make_optimizer
from verifiers.types import Verifier


def bare(config: TrainConfig, model: Model, verifier: Verifier, texts: list[str]) -> Callable[[], None]:
    """Return one update with its necessary passes only."""
    network = build(config.form, model)
    optimizer = make_optimizer(config, list(trainable(network).values()))
    conditions = lookable(model).conditions(texts)
    noise = randn(range(len(texts)), model.noise_shape)
    recipes = [(("gaussian", row),) for row in range(len(texts))]

    def update() -> None:
        f = network(noise, *conditions)
        leaf = (noise + f.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(verifier(generate(model, texts, leaf, recipes), texts).total.sum(), leaf)
        (-(f * slope).sum() / len(texts)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return update


def main() -> None:
    """Print the ratio as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="shapes_turbo")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    config = make_config(args.config)
    prompts, _ = split(read_prompts(config.prompts), config.validation)
    model = registry.load_model(config.model, **config.options)
    verifier = registry.verifier(config.rewards)
    with TemporaryDirectory() as folder:
        trainer = Trainer(config, model, verifier, prompts, Path(folder), Accelerator(cpu=True))
        texts = [prompts[row % len(prompts)] for row in range(config.batch)]
        ways: dict[str, Callable[[], object]] = {
            "trainer": trainer.update,
            "bare": bare(config, model, verifier, texts),
        }
        taken: dict[str, list[float]] = {"trainer": [], "bare": []}
        for repeat in range(-2, args.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                if repeat >= 0:
                    taken[name].append(time.perf_counter() - started)
    seconds = {name: median(values) for name, values in taken.items()}
    print(json.dumps({**seconds, "ratio": seconds["trainer"] / seconds["bare"], "batch": config.batch}))


if __name__ == "__main__":
    main()
