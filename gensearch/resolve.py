"""From names to a job: what costs nothing is checked first, then model, proposal and verifiers are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from gensearch import registry
from gensearch.config.panel import Entry, entries_of, names_of, read_panel
from gensearch.core.types import Model, Proposal, Search
from gensearch.engine.job import Job
from gensearch.runs.resume import recipe_of
from gensearch.search.chunks.resume import Recorded
from gensearch.search.knobs import checked_knobs, hints_of
from gensearch.shapes.verifiers import HOLDOUTS, guide_for
from verifiers.adapt import as_verifier
from verifiers.combine import Lenient, Panel, Term, WeightedSum
from verifiers.names import leaf_names
from verifiers.types import Verifier

Entries = Sequence[Mapping[str, Any] | Entry]  # of a panel
T = TypeVar("T")


def resolve(
    model: Any,
    verifier: str | Verifier | None,
    search: str | Search,
    *,
    knobs: Mapping[str, Any],
    compute: float | None = None,
    select: str | Verifier | None = None,
    holdout: Sequence[str | Verifier] = (),
    propose: str | Proposal | None = None,
    options: Mapping[str, Any] | None = None,
    allow_noncommercial: bool = False,
    panel: Panel | Entries | str | Path | None = None,
) -> Job:
    """The job that names or objects describe; what costs nothing is checked before the model is loaded.

    Args:
        model: A Model, a pipeline, a name, a folder or a repository.
        verifier: Guides the search; None for the model's default.
        search: A search, or its name.
        knobs: Arguments of the search by name.
        compute: Budget in multiples of one sample's cost (NFE), 1 or more, or None.
        select: Picks among finished samples in place of `verifier`.
        holdout: Verifiers that only report, each with a name of its own.
        propose: Makes the noise that the search starts from: a callable or a name; None for plain noise.
        options: How to load or wrap the model.
        allow_noncommercial: Whether weights of verifiers given by name may forbid commercial use.
        panel: All verifiers with their roles, instead of `verifier`, `select` and `holdout`.

    Raises:
        ValueError: As for `SearchPipeline`.
        LoadError: The model cannot be loaded.
    """
    method = registry.search(search) if isinstance(search, str) else called(search, "search", "best_of_n")
    fit = checked_knobs(method, knobs)
    verifier = guide_for(model) if verifier is None else verifier
    roles = named_roles(verifier, select, holdout, panel)
    given = (roles.verifier, *([roles.select] if roles.select else []), *roles.holdout)
    for one in given:
        if isinstance(one, str):
            registry.parse_verifier(one)
            registry.check_licences(one, allow_noncommercial)
        else:
            as_verifier(one)
    generator = ready(model, options or {})
    noise = registry.proposal(propose, generator) if isinstance(propose, str) else propose
    if not isinstance(panel, Panel):
        load = partial(registry.verifier, device=device_of(generator), loaded=own_verifier(generator, *given))
        panel = seated(roles, partial(load, allow_noncommercial=allow_noncommercial))
    job = Job(generator, method, panel, fit, compute=compute)
    return job if noise is None else job.changed(propose=noise)


class Roles(NamedTuple):
    """Verifiers by role, as names or objects, and the entries of the panel that they come from."""

    verifier: str | Verifier
    select: str | Verifier | None
    holdout: Sequence[str | Verifier]
    entries: Sequence[Entry] = ()


def named_roles(
    verifier: str | Verifier,
    select: str | Verifier | None,
    holdout: Sequence[str | Verifier],
    panel: Panel | Entries | str | Path | None,
) -> Roles:
    """The verifiers of a job by role: those of the panel if there is one.

    Args:
        verifier: Guides, without a panel.
        select: Selects.
        holdout: Only report.
        panel: All verifiers with their roles; of a Panel object only the guide is named.

    Raises:
        ValueError: The panel is unfit, or there are other roles beside it.
    """
    if panel is None:
        return Roles(verifier, select, holdout)
    if select is not None or holdout:
        raise ValueError("a panel names the selector and the hold-outs; leave out select and holdout")
    if isinstance(panel, Panel):
        return Roles(panel.guide, None, ())
    entries = entries_of(read_panel(panel) if isinstance(panel, str | Path) else panel)
    return Roles(**names_of(entries), entries=entries)


def seated(roles: Roles, load: Callable[[str], Verifier]) -> Panel:
    """The panel of some roles, with its verifiers loaded.

    Args:
        roles: By name or object.
        load: From a name to a verifier.

    Raises:
        ValueError: A hold-out has another role, or no name of its own.
    """

    def found(given: str | Verifier) -> Verifier:
        return load(given) if isinstance(given, str) else as_verifier(given)

    def role(which: str, given: str | Verifier) -> Verifier:
        terms = [entry for entry in roles.entries if entry.role == which]
        return calibrated(terms, str(given), found) if any(entry.calibrated for entry in terms) else found(given)

    guide, same = role("guide", roles.verifier), roles.select is None or roles.select is roles.verifier
    select = guide if same else role("select", cast(str | Verifier, roles.select))
    return Panel(guide, select, by_name([found(given) for given in roles.holdout]))


def calibrated(entries: Sequence[Entry], name: str, found: Callable[[str], Verifier]) -> Verifier:
    """The sum of the verifiers of one role, each shifted and scaled.

    Args:
        entries: Of a panel, one or more.
        name: What to call the sum.
        found: From a name to a verifier.
    """
    terms = [Term(found(entry.name), entry.weight, entry.shift, entry.scale) for entry in entries]
    return WeightedSum(*terms, name=name)


def for_prompt(job: Job, prompt: str) -> Job:
    """A job as it runs on one prompt: with the default budget, and with the recorded clip that it resumes.

    Args:
        job: What is to run.
        prompt: What the picture or clip should show.

    Raises:
        ValueError: The recorded clip shows another prompt, or another model made it.
    """
    source = job.knobs.get("resume")
    if isinstance(source, str) and source and hints_of(job.search).get("resume") == Recorded:
        job = job.changed(resume=recipe_of(job.model, prompt, source))
    return job.with_budget()


def with_own_holdout(job: Job) -> Job:
    """A job with the hold-out that is made for its model, if there is one that neither guides nor selects.

    Args:
        job: What is to run, without hold-outs.
    """
    for name in HOLDOUTS.get(job.model.name, ()):
        held_out = {name: Lenient(registry.verifier(name, device=device_of(job.model)))}
        try:
            return replace(job, panel=Panel(job.panel.guide, job.panel.select, held_out))
        except ValueError:  # its weights guide or select
            continue
    return job


def ready(model: Any, options: Mapping[str, Any]) -> Model:
    """A model as it is, or loaded or wrapped with options.

    Args:
        model: A Model, or what `gensearch.load` takes.
        options: How to load it; none for a Model.

    Raises:
        ValueError: There are options for a model that is loaded already, or they are unknown or unfit.
        LoadError: The model cannot be loaded.
    """
    if not hasattr(model, "advance"):
        return registry.load_model(model, **options)
    if options:
        raise ValueError(f"{model.name} is loaded already, so {', '.join(options)} would do nothing; load it with them")
    return cast(Model, model)


def called(given: T, role: str, example: str) -> T:
    """What was given, if it can be called.

    Args:
        given: A search or a verifier.
        role: What errors call it.
        example: A name that could be given instead.

    Raises:
        ValueError: It cannot be called.
    """
    if not callable(given):
        raise ValueError(f"{role} {given!r} is none; give a name, such as {example!r}, or something that can be called")
    return given


def by_name(holdout: Sequence[Verifier]) -> dict[str, Verifier]:
    """Hold-outs by name; raises ValueError for two of one name."""
    names = [verifier.name for verifier in holdout]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two hold-outs are called {', '.join(map(repr, twice))}; give each a name of its own")
    return dict(zip(names, holdout, strict=True))


def own_verifier(model: Model, *given: Any) -> dict[str, Verifier]:
    """`self` as a verifier, if it is among those given by name and the model can also score pictures."""
    named = {leaf for name in given if isinstance(name, str) for leaf in leaf_names(name)}
    return {"self": model.own_judge()} if "self" in named and hasattr(model, "own_judge") else {}


def device_of(model: Model) -> Any:
    """The device of a model's networks; the CPU for one that does not say."""
    pipeline = getattr(model, "pipeline", None)
    return getattr(model, "device", None) or getattr(pipeline, "_execution_device", None) or "cpu"
