"""What a search costs beside its network passes, and against the loop that is usually written instead.

    python benchmarks/overhead.py --n 16
    python benchmarks/overhead.py --model stabilityai/sd-turbo --verifier clip:ViT-B-32@laion2b_s34b_b79k --json

Three ways to the best of N pictures of one prompt, timed in turn with a new prompt each time, so that every way
encodes its text once or as often as it does: `search` is gensearch; `bare` calls the same networks on the same
inputs, batch by batch, with nothing in between; `loop` calls the pipeline once for each seed and scores the PIL
picture it returns. Times are medians, memory is the peak of a fresh process for each way.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn

from gensearch import registry
from gensearch.core.noise import Rng
from gensearch.engine.run import run
from gensearch.search.noise.best_of_n import best_of_n
from verifiers.embedding.clip import CLIPScore

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


def search(model: Any, verifier: CLIPScore, prompt: str, n: int) -> float:
    """Best-of-N by gensearch; the best score."""
    return run(best_of_n, model, verifier, prompt, n=n).best.score


def loop(model: Any, verifier: CLIPScore, prompt: str, n: int) -> float:
    """Best-of-N as most scripts do it, one picture at a time; the best score."""
    single = CLIPScore(verifier.model, verifier.tokenizer, verifier.preprocess, batch_size=1)
    settings = {"num_inference_steps": model.num_steps, "guidance_scale": model.settings["guidance_scale"]}
    scores = []
    for seed in Rng(0).seeds(n):
        generator = torch.Generator().manual_seed(seed)
        picture = model.pipeline(prompt, generator=generator, **settings).images[0]
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        media = pixels.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            scores.append(single(media, [prompt]).total.item())
    return max(scores)


def recorded(model: Any, verifier: CLIPScore, prompt: str, n: int) -> list[Call]:
    """Every outermost network call of a search, with its inputs."""
    calls: list[Call] = []
    depth = 0

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal depth
        if depth == 0:
            calls.append((module, args, kwargs))
        depth += 1

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1

    networks = [part for part in model.pipeline.components.values() if isinstance(part, nn.Module)]
    modules = {module for network in (*networks, verifier.model) for module in network.modules()}
    hooks = [module.register_forward_pre_hook(enter, with_kwargs=True) for module in modules]
    hooks += [module.register_forward_hook(leave, with_kwargs=True) for module in modules]
    search(model, verifier, prompt, n)
    for hook in hooks:
        hook.remove()
    return calls


def bare(calls: list[Call]) -> None:
    """The recorded network calls and nothing else."""
    with torch.no_grad():
        for module, args, kwargs in calls:
            module(*args, **kwargs)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a piece of work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def timings(model: Any, verifier: CLIPScore, n: int, repeats: int) -> dict[str, float]:
    """Median seconds of each way; they take turns in alternating order, so that nobody gains by who comes before."""
    calls = recorded(model, verifier, "a photo of no red stars", n)
    times: dict[str, list[float]] = {"search": [], "bare": [], "loop": []}
    for repeat in range(-1, repeats):  # the first round warms up
        prompt = f"a photo of {repeat + 2} red stars"  # a new one: nobody remembers its text
        ways: dict[str, Callable[[], object]] = {
            "search": lambda prompt=prompt: search(model, verifier, prompt, n),
            "bare": lambda: bare(calls),
            "loop": lambda prompt=prompt: loop(model, verifier, prompt, n),
        }
        for name in list(ways) if repeat % 2 else reversed(ways):
            taken = seconds(ways[name])
            if repeat >= 0:
                times[name].append(taken)
    return {name: median(taken) for name, taken in times.items()}


def load(args: argparse.Namespace) -> tuple[Any, CLIPScore]:
    """The model and the verifier; raises ValueError for kinds that have no loop to compare with."""
    model: Any = registry.load_model(args.model, **({"batch_size": args.batch_size} if args.batch_size else {}))
    verifier = registry.verifier(args.verifier)
    if not hasattr(model, "settings") or not isinstance(verifier, CLIPScore):
        raise ValueError(f"{args.model} with {args.verifier}: this compares diffusers models under a CLIP score")
    model.pipeline.set_progress_bar_config(disable=True)
    return model, verifier


def peak(args: argparse.Namespace, way: str) -> float:
    """Peak memory in MiB of a fresh process that goes one way once (`load`: that only loads)."""
    given = [
        "--model",
        args.model,
        "--verifier",
        args.verifier,
        "--n",
        str(args.n),
        "--batch-size",
        str(args.batch_size),
    ]
    done = subprocess.run(
        [sys.executable, __file__, *given, "--memory-of", way], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def memory_of(args: argparse.Namespace) -> float:
    """Go one way in this process and return its peak memory in MiB."""
    model, verifier = load(args)
    ways = {"search": search, "loop": loop}
    if args.memory_of in ways:
        ways[args.memory_of](model, verifier, "a photo of two red stars", args.n)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes/turbo")
    parser.add_argument("--verifier", default="shapes/clip")
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument(
        "--batch-size", type=int, default=0, help="physical batch of the networks (default: the model's)"
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--memory-of", choices=["load", "search", "loop"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(memory_of(args))
        return
    taken = timings(*load(args), args.n, args.repeats)
    memory = {way: peak(args, way) for way in ("load", "search", "loop")}
    ratios = {"search / bare": taken["search"] / taken["bare"], "loop / search": taken["loop"] / taken["search"]}
    if args.json:
        settings = {"model": args.model, "verifier": args.verifier, "n": args.n, "threads": torch.get_num_threads()}
        print(json.dumps({**settings, "seconds": taken, "ratios": ratios, "peak_mib": memory}, indent=1))
        return
    print(f"best of {args.n}, {args.model} under {args.verifier}, {torch.get_num_threads()} threads")
    print(f"search / bare  {ratios['search / bare']:.3f}  (time beside the network passes; target 1.05 or less)")
    print(f"loop / search  {ratios['loop / search']:.2f}   (one pipeline call for each picture; target 2 or more)")
    print("peak memory: " + ", ".join(f"{way} {size:.0f} MiB" for way, size in memory.items()))


if __name__ == "__main__":
    main()
