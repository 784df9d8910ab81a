"""Memory of a tree of frames: python benchmarks/tree_memory.py [--model toy/chunks] [--keep 2].

For trees with more and more branches and a fixed number of kept paths, prints the number of chunks generated and
pruned, the largest number of chunks in memory with its upper bound, and the chunks and kB in memory when each chunk
began. These do not grow with the number of pruned branches.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from typing import Any

import torch

from gensearch import registry
from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng
from gensearch.core.types import Noise, State
from gensearch.engine.metered import MeteredModel, MeteredVerifier
from gensearch.models.chunks.clip import Chunk, ClipCache
from gensearch.search.chunks.tree_of_frames import tree_of_frames

PROMPT = "a red circle moving fast to the right"


def alive(kind: type) -> list[Any]:
    """Return all objects of a class that are still referenced."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is kind]


def tensors(thing: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors inside nested containers."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, dict | list | tuple):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors(part)


def held() -> float:
    """Return the kB of samples, frames, caches and decoder states in memory."""
    things = [[chunk.sample, chunk.frames] for chunk in alive(Chunk)]
    things += [
        [own.memory, own.decoder.kept, own.decoder.before and own.decoder.before.kept] for own in alive(ClipCache)
    ]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(things)}
    return sum(storages.values()) / 1e3


class Watched(MeteredModel):
    """A metered model that records what is in memory before and after each chunk."""

    def __init__(self, model: Any, ledger: Ledger) -> None:
        super().__init__(model, ledger)
        self.before: list[tuple[int, float]] = []
        self.peak = 0

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """Advance as the model does."""
        self.before.append((len(alive(Chunk)), held()))
        after = super().advance(state, noise)
        self.peak = max(self.peak, len(alive(Chunk)))
        return after


def main() -> None:
    """Search with more and more branches and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy/chunks")
    parser.add_argument("--verifier", default="random")
    parser.add_argument("--keep", type=int, default=2)
    args = parser.parse_args()
    model, guide = registry.load_model(args.model), registry.verifier(args.verifier)
    print("branches  made  pruned  most chunks (bound)  chunks, kB when each chunk began")
    for branch in (2, 4, 8, 16, 32):
        ledger = Ledger()
        watched, verifier = Watched(model, ledger), MeteredVerifier(guide, ledger)
        made = 0
        for round in tree_of_frames(
            watched, verifier, PROMPT, rng=Rng(3), ledger=ledger, branch=branch, keep=args.keep
        ):
            made += len(round.ids)
            del round
        depth = model.num_steps
        bound = args.keep * (depth - 1) + args.keep * branch  # the kept paths, and their children
        began = ", ".join(f"{count} {size:.0f}" for count, size in watched.before)
        print(f"{branch:8} {made:5} {made - args.keep * depth:7} {watched.peak:14} ({bound}) {began:>40}")


if __name__ == "__main__":
    main()
