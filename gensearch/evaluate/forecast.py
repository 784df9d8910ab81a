"""What a plan will take and what it can show, in words, before anything is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from gensearch import registry
from gensearch.core.noise import randn
from gensearch.core.sampling import generate
from gensearch.core.types import Model
from gensearch.engine.job import budget
from gensearch.evaluate.bench import Benchmark, once
from gensearch.evaluate.hardware import PEAK, count, hours
from gensearch.evaluate.plan import Plan, at_hand
from gensearch.evaluate.power import (
    Variance,
    blind,
    by_chance,
    detectable,
    measured,
    small_tags,
    standard_error,
    worst,
)
from gensearch.evaluate.report.analyse import role_of
from gensearch.evaluate.report.merge import read_run
from verifiers.names import leaf_names

RECORD = 2_000  # bytes of a line of results, about
NO_EFFECT = "a method without effect"
Known = Mapping[str, Mapping[str, Variance]] | None  # method -> tag -> variance


class Size(NamedTuple):
    """What a plan is made of.

    Attributes:
        prompts: Number of prompts of each tag.
        pairs: Of prompt and seed.
        samples: Method -> samples for all pairs, as its budget buys them; None where its knobs decide.
    """

    prompts: dict[str, int]
    pairs: int
    samples: dict[str, int | None]


def forecast(plan: Plan, benchmark: Benchmark, gpu: str | None, share: float, run: Path | None) -> list[str]:
    """The forecast, a line for each figure. Of generators, only those that are at hand are loaded.

    Args:
        plan: Methods, prompts and seeds.
        benchmark: Where the prompts come from.
        gpu: A GPU by name, or None for no hours.
        share: Of its peak that is reached, above 0 and at most 1.
        run: The folder of an earlier run; None for the worst case.

    Raises:
        ValueError: The GPU is unknown, the share out of range, or the folder holds no evaluation of two methods.
    """
    listed = benchmark.lines(plan.prompts)
    pairs = plan.pairs(listed)
    each = {m.name: budget(registry.search(m.search), m.compute, m.knobs) for m in plan.methods}
    samples = {name: None if n is None else int(n) * pairs for name, n in each.items()}
    size = Size(dict(Counter(line["tag"] for line in listed)), pairs, samples)
    if gpu:
        hours(0, gpu, share)  # refuses before a model is loaded
    variances = None
    if run:
        earlier = read_run(run)
        variances = measured(earlier.plan, earlier.records)
    found = [calls(plan, size)]
    found += [disk(plan, benchmark, size, listed[0]["prompt"])]
    if gpu:
        found += [time(plan, benchmark, size, listed[0]["prompt"], gpu, share)]
    return [*found, *power(plan, size, variances, run), *chances(plan, size, variances)]


def open_ended(size: Size) -> str:
    """The methods whose samples are not known in advance, in words."""
    names = [name for name, n in size.samples.items() if n is None]
    return f"; without {', '.join(names)}, whose knobs set the cost" if names else ""


def calls(plan: Plan, size: Size) -> str:
    """Verifier calls of the searches, and those of judge and hold-outs on the winner and the plain sample of each."""
    searched = 0
    for method in plan.methods:
        names = leaf_names(method.verifier) | (leaf_names(method.select) if method.select else set())
        searched += (size.samples[method.name] or 0) * len(names)
    judged = 2 * size.pairs * len(plan.methods) * (1 + len(plan.holdout))
    return (
        f"verifier calls: about {searched:,} by the searches, one for each sample and verifier{open_ended(size)}; "
        f"{judged:,} by the exact judge and hold-outs"
    )


def loaded(plan: Plan, benchmark: Benchmark) -> dict[str, Model]:
    """The generators that are at hand, by method, each once."""
    model = once(benchmark.model)
    return {method.name: model(method.model, **method.options) for method in filter(at_hand, plan.methods)}


def elsewhere(plan: Plan) -> str:
    """The generators that are not at hand, in words."""
    names = sorted({method.model for method in plan.methods if not at_hand(method)})
    return f"; without {', '.join(names)}, which is not loaded here" if names else ""


def disk(plan: Plan, benchmark: Benchmark, size: Size, prompt: str) -> str:
    """The most that pictures and records take: pixels as they are, which PNG compresses."""
    most, known = 0, dict[int, int]()
    for model in loaded(plan, benchmark).values():
        if id(model) not in known:
            with torch.no_grad():
                media = generate(model, [prompt], randn([0], model.noise_shape), [(("gaussian", 0),)])
            known[id(model)] = media[0].numel()
        most += size.pairs * (known[id(model)] + RECORD)
    return f"disk: at most {most / 1e6:,.1f} MB of pictures and results{elsewhere(plan)}"


def time(plan: Plan, benchmark: Benchmark, size: Size, prompt: str, gpu: str, share: float) -> str:
    """GPU-hours by the operations of the networks, which are counted on one batch of each generator."""
    total, counted = 0.0, dict[tuple[int, str], float]()
    for name, model in loaded(plan, benchmark).items():
        method = next(m for m in plan.methods if m.name == name)
        key = (id(model), method.verifier)
        if key not in counted:
            near = [] if any(not embedded(leaf) for leaf in leaf_names(method.verifier)) else [method.verifier]
            work = count(model, [benchmark.verifier(v) for v in near], prompt)
            counted[key] = work.sample + work.score
        total += (size.samples[name] or 0) * counted[key]
    needed = hours(total, gpu, share)
    return (
        f"time: {needed:,.3g} GPU-hours ({needed * 3600:,.3g} s) on {gpu}, from {total:.3g} operations counted on the "
        f"networks, a peak of {PEAK[gpu.lower()]:g} TFLOPS and {share:.0%} of it reached (assumed, not measured)"
        f"{open_ended(size)}{elsewhere(plan)}"
    )


def embedded(verifier: str) -> bool:
    """Whether a verifier needs no download."""
    return verifier.startswith("shapes/") or verifier in ("random", "redness")


def power(plan: Plan, size: Size, variances: Known, run: Path | None) -> list[str]:
    """The difference to the baseline that each method must have to be found in four of five runs."""
    others = [method.name for method in plan.methods if method.name != plan.reference]
    if not others:
        return []
    head = "detectable difference in overall (80 % power, two-sided 5 %"
    head += f"; in brackets if all {len(others)} are corrected)" if len(others) > 1 else ")"
    if variances is None:
        error = standard_error(worst(size.prompts), size.prompts, plan.seeds)
        return [
            f"{head}: {both(error, len(others))}, in the worst case of independent verdicts that are right half of the "
            "time; --variance RUN takes the variances of an earlier run"
        ]
    errors = {name: standard_error(known(variances, [name], size), size.prompts, plan.seeds) for name in others}
    said = ", ".join(f"{name} {both(error, len(others))}" for name, error in errors.items())
    return [f"{head}: {said}, by the variances of {run}; methods and tags that it lacks take its largest"]


def both(error: float, comparisons: int) -> str:
    """A detectable difference, and what it is after correction for several comparisons."""
    alone = f"{detectable(error):.3f}"
    return alone if comparisons == 1 else f"{alone} ({detectable(error, comparisons):.3f})"


def known(variances: Mapping[str, Mapping[str, Variance]], names: Sequence[str], size: Size) -> dict[str, Variance]:
    """The variance of each tag: the largest of the named methods, else of all methods, else the worst case."""
    found = {}
    for tag in size.prompts:
        mine = [variances[name][tag] for name in names if tag in variances.get(name, {})]
        anyone = [by[tag] for by in variances.values() if tag in by]
        found[tag] = max(mine or anyone or [worst({tag: 1})[tag]], key=sum)
    return found


def chances(plan: Plan, size: Size, variances: Known) -> list[str]:
    """Warnings of what chance alone can show: in overall, in small tags, and among several comparisons."""
    controls = [m.name for m in plan.methods if role_of(m, m.name == plan.reference, False) == "control"]
    stored = [name for name in controls if variances and name in variances]
    by = known(variances or {}, stored, size) if stored else None
    far = blind(by, size.prompts, plan.seeds)
    found = [f"chance: {NO_EFFECT} differs from {plan.reference} by up to {far:.3f} in overall in 95 % of runs"]
    small = small_tags(size.prompts, plan.seeds)
    if small:
        tags = ", ".join(f"{tag} {far:.2f} ({size.prompts[tag]} prompts)" for tag, far in small.items())
        found.append(
            f"warning: few pictures in some tags, where {NO_EFFECT} could look like a gain of up to: {tags}; use more "
            "prompts or --seeds"
        )
    others = len(plan.methods) - 1
    if others > 1:
        found.append(
            f"warning: with {others} comparisons, chance alone puts zero outside of at least one 95 % interval in "
            f"{by_chance(others):.0%} of runs; `gensearch compare` corrects for their number"
        )
    if others and not controls:
        found.append("warning: no control; add a method with search:unguided, and one with verifier:random")
    return found
