"""What the remote critics of an evaluation may cost, from rehearsals without networks; no request is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from gensearch import registry
from gensearch.core.ledger import Cost
from gensearch.core.types import Model
from gensearch.engine.job import Job, budget
from gensearch.estimate import MeanScore, aside, rehearse
from gensearch.evaluate.bench import Benchmark, once
from gensearch.evaluate.plan import Method, Plan, at_hand
from gensearch.resolve import Roles, for_prompt, seated
from verifiers.combine import Panel
from verifiers.names import leaf_names, source_of
from verifiers.types import Verifier

REMOTE = "critic"  # the kind of verifiers that ask a server


class Fees(NamedTuple):
    """The most that remote critics can cost in an evaluation.

    Attributes:
        search: As guides and selectors, within the budgets.
        aside: As hold-outs, beside them.
        unknown: Names of methods with critics whose generator is not at hand.
    """

    search: Cost
    aside: Cost
    unknown: tuple[str, ...]


class Unloaded:
    """Stands for a verifier that costs no money, which is not loaded for a forecast.

    Args:
        name: Its name.
    """

    differentiable = True

    def __init__(self, name: str) -> None:
        self.name = name


def fees(plan: Plan, benchmark: Benchmark) -> Fees:
    """The most that the remote critics of a plan can cost; critics are read from their files and asked nothing.

    Args:
        plan: Methods, hold-outs, prompts and seeds.
        benchmark: Where prompts and generators come from.

    Raises:
        ValueError: The file of a critic cannot be used, or a method cannot run.
    """
    lines = benchmark.lines(plan.prompts)
    pairs, model = plan.pairs(lines), once(benchmark.model)
    found, unknown = Cost(), []
    for method in plan.methods:
        if not remote(method.verifier, method.select or ""):
            continue
        if not at_hand(method):
            unknown.append(method.name)
            continue
        job = rehearsed(method, model(method.model, **method.options), benchmark)
        prompt = lines[0]["prompt"]
        found = found.plus(rehearse(for_prompt(job, prompt), prompt, plan.seed).spent.times(pairs))
    held_out = [aside(Panel(unloaded("any"), holdout={name: built(name)}), 0) for name in plan.holdout if remote(name)]
    beside = reduce(Cost.plus, held_out, Cost()).times(pairs * len(plan.methods))
    return Fees(found, beside, tuple(unknown))


def rehearsed(method: Method, model: Model, benchmark: Benchmark) -> Job:
    """The job of a method with stand-ins for all verifiers that cost no money, and without its proposal.

    Args:
        method: Of a plan.
        model: Its generator.
        benchmark: Where its search comes from.
    """
    panel = seated(Roles(method.verifier, method.select, (), method.verifiers or ()), built)
    search = benchmark.search(method.search)
    return Job(model, search, panel, dict(method.knobs), compute=budget(search, method.compute, method.knobs))


def remote(*names: str) -> set[str]:
    """The single names among some names that ask a server.

    Args:
        names: In the grammar of verifier names; an empty one names nothing.
    """
    return {leaf for name in filter(None, names) for leaf in leaf_names(name) if source_of(leaf)[0] == REMOTE}


def built(name: str) -> Verifier:
    """A verifier by name, in which only critics are real.

    Args:
        name: In the grammar of verifier names.
    """
    free: Mapping[str, Verifier] = {leaf: unloaded(leaf) for leaf in singles(name) if not remote(leaf)}
    return registry.verifier(name, loaded=dict(free), allow_noncommercial=True)


def singles(name: str) -> Sequence[str]:
    """The single names in a name, such as "frames:NAME" as it stands.

    Args:
        name: In the grammar of verifier names.
    """
    return [single for single, _ in registry.parse_verifier(name)]


def unloaded(name: str) -> Verifier:
    """The stand-in for a verifier that costs no money.

    Args:
        name: Its name.
    """
    return MeanScore(Unloaded(name))  # type: ignore[arg-type]  # only its name is read
