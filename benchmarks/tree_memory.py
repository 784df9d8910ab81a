"""What a tree of frames keeps: python benchmarks/tree_memory.py [--model toy/chunks] [--keep 2].

For trees that branch more and more and keep the same, prints how many chunks were made and pruned, how many were alive
at most and at most by the bound, and what was alive, with its caches and frames, when each chunk began: that does not
grow with the number of pruned branches.
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
from gensearch.models.chunks.base import Chunk, Desk
from gensearch.search.chunks.tree_of_frames import tree_of_frames

PROMPT = "a red circle moving fast to the right"


def alive(kind: type) -> list[Any]:
    """All objects of a class that anything still holds."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is kind]


def tensors(thing: Any) -> Iterator[torch.Tensor]:
    """Tensors inside nested containers."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, dict | list | tuple):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors(part)


def held() -> float:
    """kB of samples, frames, caches and what the decoder keeps, of everything that is alive."""
    things = [[chunk.sample, chunk.frames] for chunk in alive(Chunk)]
    things += [[desk.memory, desk.film.kept, desk.film.before and desk.film.before.kept] for desk in alive(Desk)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(things)}
    return sum(storages.values()) / 1e3


class Watched(MeteredModel):
    """A metered model that notes what is alive before and after each chunk."""

    def __init__(self, model: Any, ledger: Ledger) -> None:
        super().__init__(model, ledger)
        self.before: list[tuple[int, float]] = []
        self.peak = 0

    def advance(self, state: State, noise: Noise | None = None) -> State:
        """The model's own."""
        self.before.append((len(alive(Chunk)), held()))
        after = super().advance(state, noise)
        self.peak = max(self.peak, len(alive(Chunk)))
        return after


def main() -> None:
    """Search with ever more branches and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toy/chunks")
    parser.add_argument("--verifier", default="random")
    parser.add_argument("--keep", type=int, default=2)
    args = parser.parse_args()
    model, judge = registry.load_model(args.model), registry.verifier(args.verifier)
    print("branches  made  pruned  alive at most (bound)  alive, kB when each chunk began")
    for branch in (2, 4, 8, 16, 32):
        ledger = Ledger()
        watched, verifier = Watched(model, ledger), MeteredVerifier(judge, ledger)
        made = 0
        for round in tree_of_frames(
            watched, verifier, PROMPT, rng=Rng(3), ledger=ledger, branch=branch, keep=args.keep
        ):
            made += len(round.ids)
            del round
        depth = model.num_steps
        bound = args.keep * (depth - 1) + args.keep * branch  # the paths that stay, and their children
        began = ", ".join(f"{count} {size:.0f}" for count, size in watched.before)
        print(f"{branch:8} {made:5} {made - args.keep * depth:7} {watched.peak:14} ({bound}) {began:>40}")


if __name__ == "__main__":
    main()
