"""What a search costs beside the network passes that it must make, and against the loop over single pictures.

    python benchmarks/overhead.py                                   # the whole table, about half an hour on two cores
    python benchmarks/overhead.py --model shapes/turbo --search best_of_n --n 16
    python benchmarks/overhead.py --model stabilityai/sd-turbo --verifier clip:ViT-B-32@laion2b_s34b_b79k --n 16 --json

`floor` is the cheapest way to make the same passes: the outermost network calls of the search, recorded and made again
with nothing in between, at that physical batch size which is fastest here. `loop` calls the pipeline once for each
picture and scores it. All ways take turns in alternating order in one process; figures are medians of their ratios,
pair by pair. Padding is what only fills physical batches, as a share of all rows. Models whose caches are written in
place cannot be recorded this way: `benchmarks/tokens.py` measures those of token models.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import nn

from gensearch import registry
from gensearch.core.ledger import Ledger
from gensearch.core.noise import Rng, randn
from gensearch.engine.run import run

PROMPT = "a photo of two red stars"
GRADIENTS = {"reno", "dno"}
TABLE = [  # model, options, verifier, search, its sizes
    ("shapes/turbo", {}, "shapes/clip", "best_of_n", (1, 4, 16, 64)),
    ("shapes/turbo", {}, "shapes/clip", "zero_order", (4, 16, 64)),
    ("shapes/turbo", {}, "shapes/clip", "reno", (4, 16)),
    ("shapes/sd", {"steps": 8}, "shapes/clip", "best_of_n", (1, 4, 16, 64)),
    ("shapes/sd", {"steps": 8}, "shapes/clip", "zero_order", (4, 16)),
    ("shapes/sd", {"steps": 4}, "shapes/clip", "reno", (4,)),
]


class Call(NamedTuple):
    """One network call of a search."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Case(NamedTuple):
    """A search on a model under a verifier, with so many samples' worth of compute."""

    model: Any
    verifier: Any
    search: str
    n: int

    def go(self) -> Ledger:
        """Run the search; its account."""
        return run(registry.search(self.search), self.model, self.verifier, PROMPT, compute=self.n).ledger


def networks(case: Case) -> set[nn.Module]:
    """Every module of generator and verifier."""
    parts = [part for part in case.model.pipeline.components.values() if isinstance(part, nn.Module)]
    inner = [getattr(case.verifier, "judge", case.verifier), case.verifier]
    parts += [verifier.model for verifier in inner if isinstance(getattr(verifier, "model", None), nn.Module)]
    return {module for network in parts for module in network.modules()}


def recorded(case: Case) -> list[Call]:
    """Every outermost network call of a search, with its inputs."""
    calls: list[Call] = []
    depth = 0

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal depth
        if depth == 0:
            calls.append(Call(module, args, kwargs))
        depth += 1

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1

    modules = networks(case)
    hooks = [module.register_forward_pre_hook(enter, with_kwargs=True) for module in modules]
    hooks += [module.register_forward_hook(leave, with_kwargs=True) for module in modules]
    case.go()
    for hook in hooks:
        hook.remove()
    return calls


def bare(calls: Sequence[Call]) -> None:
    """Recorded network calls and nothing else."""
    with torch.no_grad():
        for module, args, kwargs in calls:
            module(*args, **kwargs)


def climbing(case: Case) -> Callable[[], None]:
    """The passes of a search by gradients, forward and backward, with nothing in between."""
    model, verifier = case.model, case.verifier
    ledger = case.go()
    evaluations = ledger.spent.decoded
    noise = randn([0], model.noise_shape)
    text = verifier.text_features(PROMPT)[None]

    def work() -> None:
        with torch.enable_grad():
            for turn in range(evaluations):
                leaf = noise.clone().requires_grad_()
                state = model.start([PROMPT], leaf)
                while not bool(state.done.all()):
                    state = model.advance(state)
                score = verifier.score(model.render(state), text)
                if turn < evaluations - 1:  # the last evaluation is followed by no update
                    torch.autograd.grad(score.sum(), leaf)

    return work


def loop(case: Case) -> None:
    """As many pictures as best-of-N makes, one pipeline call for each, as most scripts do it."""
    model, verifier = case.model, case.verifier
    settings = {"num_inference_steps": model.num_steps, "guidance_scale": model.settings["guidance_scale"]}
    for seed in Rng(0).seeds(case.n):
        generator = torch.Generator().manual_seed(seed)
        picture = model.pipeline(PROMPT, generator=generator, **settings).images[0]
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        media = pixels.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            verifier(media, [PROMPT])


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a piece of work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def floors(case: Case) -> dict[str, Callable[[], object]]:
    """Ways to make the passes of a search, by the physical batch that they use."""
    if case.search in GRADIENTS:
        return {"1": climbing(case)}
    own, judge = case.model.batch_size, case.verifier
    parts: list[Any] = [case.model, judge, getattr(judge, "judge", None)]
    sized = [part for part in parts if hasattr(part, "batch_size")]
    before = [part.batch_size for part in sized]
    ways: dict[str, Callable[[], object]] = {}
    for size in sorted({1, 2, 4, 8, own, 2 * own}):
        if size > max(1, case.n):
            continue
        for part in sized:
            part.batch_size = size
        ways[str(size)] = partial(bare, recorded(case))
    for part, size in zip(sized, before, strict=True):
        part.batch_size = size
    return ways


def fastest(ways: dict[str, Callable[[], object]]) -> str:
    """The quickest of some ways, each tried three times in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, work in ways.items():
            times[name].append(seconds(work))
    return min(times, key=lambda name: median(times[name]))


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Ratios of one case: search to floor, and loop to search where the pipeline has such a loop."""
    ledger = case.go()  # warms up, and says what it takes
    ways = floors(case)
    best = fastest(ways)
    turns: dict[str, Callable[[], object]] = {"search": case.go, "floor": ways[best]}
    if case.search == "best_of_n" and hasattr(case.model, "settings"):
        turns["loop"] = lambda: loop(case)
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for repeat in range(repeats):
        for name in list(turns) if repeat % 2 else reversed(turns):
            taken[name].append(seconds(turns[name]))
    pairs = list(zip(taken["search"], taken["floor"], strict=True))
    found = {
        "search / floor": median(a / b for a, b in pairs),
        "floor's batch": best,
        "seconds": median(taken["search"]),
        "padding": share(ledger),
        "nfe": ledger.spent.nfe or ledger.spent.tokens,
    }
    if "loop" in taken:
        found["loop / search"] = median(b / a for a, b in zip(taken["search"], taken["loop"], strict=True))
    return found


def share(ledger: Ledger) -> float:
    """Padding as a share of all rows that went through the generator."""
    column = "nfe" if ledger.spent.nfe else "tokens"
    return float(getattr(ledger.padding, column) / getattr(ledger.total, column))


def load(model: str, options: dict[str, Any], verifier: str, search: str, n: int) -> Case:
    """One case."""
    found: Any = registry.load_model(model, **options)
    if hasattr(found.pipeline, "set_progress_bar_config"):
        found.pipeline.set_progress_bar_config(disable=True)
    return Case(found, registry.verifier(verifier), search, n)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="one model only; of the table unless a verifier is given")
    parser.add_argument("--verifier", help="default: that of the table")
    parser.add_argument("--search", help="one search only")
    parser.add_argument("--n", type=int, help="one size only")
    parser.add_argument("--steps", type=int, help="network steps of one sample")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [row for row in TABLE if args.model in (None, row[0]) and args.search in (None, row[3])]
    if args.model and args.verifier:
        options = {"steps": args.steps} if args.steps else {}
        rows = [(args.model, options, args.verifier, args.search or "best_of_n", (args.n or 16,))]
    results = []
    for model, options, verifier, search, sizes in rows:
        for n in sizes if args.n is None else (args.n,):
            found = measure(load(model, options, verifier, search, n), args.repeats)
            results.append({"model": model, "search": search, "n": n, "threads": args.threads, **found})
            if not args.json:
                print(line(results[-1]), flush=True)
    if args.json:
        print(json.dumps(results, indent=1))


def line(row: dict[str, Any]) -> str:
    """One case in words."""
    text = f"{row['model']:13} {row['search']:14} {row['n']:3}  search / floor {row['search / floor']:.3f}"
    text += f" (batch {row['floor' + chr(39) + 's batch']}), padding {row['padding']:.1%}, {row['seconds']:.2f} s"
    return text + (f", loop / search {row['loop / search']:.2f}" if "loop / search" in row else "")


if __name__ == "__main__":
    main()
