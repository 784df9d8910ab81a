"""Gain, controls and latency of a noise hypernetwork.

    python benchmarks/learned_noise.py --propose shapes/hypernoise
    python benchmarks/learned_noise.py --propose shapes/hypernoise --sweep docs/hypernoise_gain.png

On held-out prompts of the Shapes world: the reward if the network is conditioned on the prompt, on another prompt (a
control, which must be lower), and with gains from 0 (bit-equal to plain noise) to 2; the KL divergence from the base
model in nats, beside that of best-of-n; the diversity of pictures of one prompt; and the latency of one picture against
plain noise, in the same process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from gensearch import registry
from gensearch.core.divergence import best_of_n_nats, shift_nats
from gensearch.core.noise import derive, randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model, Proposal
from gensearch.core.verbs import Lookable
from gensearch.shapes import world
from hypernoise.artefact import HyperNoise
from hypernoise.network import trainable
from hypernoise.objective import divergence
from verifiers.types import Verifier

GAINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


class Bench:
    """Prompts, noises, and verifiers."""

    def __init__(self, model: Lookable, guide: Verifier, holdout: Verifier, prompts: Sequence[str], seeds: int) -> None:
        self.model, self.seeds, self.prompts = model, seeds, prompts
        self.verifiers = {"reward": guide, "hold-out": holdout, "exact": registry.verifier("shapes/judge")}
        self.texts = [prompt for prompt in prompts for _ in range(seeds)]
        numbers = [derive(0, text, i % seeds) for i, text in enumerate(self.texts)]
        self.noise = randn(numbers, model.noise_shape)
        self.recipes = [(("gaussian", number),) for number in numbers]

    @torch.no_grad()
    def shift(self, network: torch.nn.Module, texts: Sequence[str]) -> Tensor:
        """Return f of every noise."""
        parts = []
        for first in range(0, len(texts), self.model.batch_size):
            rows = slice(first, first + self.model.batch_size)
            parts.append(network(self.noise[rows], *self.model.conditions(texts[rows])))
        return torch.cat(parts)

    @torch.no_grad()
    def scored(self, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return pictures, and their scores by each verifier."""
        media = generate(self.model, self.texts, noise, self.recipes)
        return media, {name: verifier(media, self.texts).total for name, verifier in self.verifiers.items()}

    def spread(self, media: Tensor) -> float:
        """Return the root mean square distance between pictures of one prompt."""
        return float(media.reshape(len(self.prompts), self.seeds, -1).var(1).mean().mul(2).sqrt())

    def gain(self, values: Tensor) -> dict[str, float]:
        """Return the mean over prompts with a 95 % bootstrap interval."""
        means = values.double().view(len(self.prompts), self.seeds).mean(1).numpy()
        rng = np.random.default_rng(0)
        drawn = means[rng.integers(len(means), size=(2000, len(means)))].mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return {"mean": float(means.mean()), "low": float(low), "high": float(high)}


def controls(bench: Bench, proposal: HyperNoise) -> dict[str, Any]:
    """Return the gains of every verifier with the own prompt, with another prompt, and over a sweep of the gain."""
    plain, before = bench.scored(bench.noise)
    f = bench.shift(proposal.network, bench.texts)
    away = bench.seeds * (len(bench.prompts) // 2)  # neighbours in the benchmark are similar
    others = bench.texts[away:] + bench.texts[:away]
    media, own = bench.scored(bench.noise + f)
    _, other = bench.scored(bench.noise + bench.shift(proposal.network, others))
    sweep = {gain: bench.scored(bench.noise + gain * f) for gain in GAINS}
    few = min(32, len(bench.texts))
    text = bench.model.conditions(bench.texts[:few])
    _, nats = divergence(lambda x: proposal.network(x, *text), bench.noise[:few], order=2, probes=4, seeds=range(few))
    return {
        "base": {name: float(value.double().mean()) for name, value in before.items()},
        "gain": {name: bench.gain(own[name] - before[name]) for name in own},
        "gain with another prompt": {name: bench.gain(other[name] - before[name]) for name in own},
        "sweep": {gain: {n: bench.gain(v - before[n]) for n, v in found.items()} for gain, (_, found) in sweep.items()},
        "gain 0 is bit-equal": bool(torch.equal(sweep[0.0][0], plain)),
        "diversity": bench.spread(media) / bench.spread(plain),
        "rms": float(f.square().mean().sqrt()),
        "nats": float(shift_nats(f).mean()),
        "nats, second order": float(nats.detach().mean()),
        "standard error of it": float(nats.detach().std() / few**0.5),
        "nats of best-of-n": {n: best_of_n_nats(n) for n in (4, 16, 50)},
    }


def latency(model: Model, proposal: Proposal, prompt: str, repeats: int) -> dict[str, float]:
    """Return the median seconds of one picture from plain noise and from the proposal, in turn."""
    recipe = [(("gaussian", 0),)]

    @torch.no_grad()
    def plain() -> None:
        generate(model, [prompt], randn([0], model.noise_shape), recipe)

    @torch.no_grad()
    def learned() -> None:
        generate(model, [prompt], proposal(model, [prompt], [0]), recipe)

    taken: dict[str, list[float]] = {"plain": [], "learned": []}
    ways: dict[str, Callable[[], None]] = {"plain": plain, "learned": learned}
    for repeat in range(-3, repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if repeat >= 0:
                taken[name].append(time.perf_counter() - started)
    seconds = {name: median(values) for name, values in taken.items()}
    return {**seconds, "ratio": seconds["learned"] / seconds["plain"]}


def draw(found: dict[str, Any], path: str) -> None:
    """Draw the sweep of the gain, one curve for each verifier."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.4), dpi=110)
    for name in found["gain"]:
        rows = [(gain, found["sweep"][gain][name]) for gain in GAINS]
        axes.plot(GAINS, [row["mean"] for _, row in rows], marker="o", label=name)
        axes.fill_between(GAINS, [r["low"] for _, r in rows], [r["high"] for _, r in rows], alpha=0.15)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("s in x0 + s f(x0, prompt)")
    axes.set_ylabel("gain over plain noise")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Print everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes/turbo")
    parser.add_argument("--propose", default="shapes/hypernoise")
    parser.add_argument("--guide", default="shapes/clip")
    parser.add_argument("--holdout", default="shapes/clip-holdout")
    parser.add_argument("--prompts", type=int, default=48, help="per tag, at most")
    parser.add_argument("--seeds", type=int, default=4, help="noises for each prompt")
    parser.add_argument("--repeats", type=int, default=50, help="pictures that the latency is the median of")
    parser.add_argument("--sweep", help="draw the sweep of the gain into this PNG")
    args = parser.parse_args()
    model = cast(Lookable, registry.load_model(args.model, batch_size=16))
    proposal = cast(HyperNoise, registry.proposal(args.propose, model))
    prompts = [line["prompt"] for line in world.benchmark(args.prompts)]
    bench = Bench(model, registry.verifier(args.guide), registry.verifier(args.holdout), prompts, args.seeds)
    found = controls(bench, proposal)
    own = sum(parameter.numel() for parameter in trainable(proposal.network).values())
    base = sum(parameter.numel() for parameter in model.network.parameters())
    found["parameters"] = {"trained": own, "generator": base, "share": own / base}
    single = registry.load_model(args.model, batch_size=1)
    found["seconds"] = latency(single, registry.proposal(args.propose, single), prompts[0], args.repeats)
    if args.sweep:
        draw(found, args.sweep)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
