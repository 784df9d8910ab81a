"""The plan of an evaluation, prompts x seeds x methods, as one schema for YAML files and the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gensearch.config.explain import explain
from gensearch.config.make import assign
from gensearch.config.panel import Entries, entries_of, read_panel
from gensearch.config.run import RunConfig, guided, named
from gensearch.config.yaml import read_preset
from gensearch.core.errors import nearest
from gensearch.core.limits import MAX_SEED, MAX_THREADS
from gensearch.packages import configs
from verifiers.calls import split_outside
from verifiers.yaml import parse_yaml

Schema = TypeVar("Schema", bound=BaseModel)
PRESETS = "evaluate"  # the folder of presets within `configs`


class Method(BaseModel):
    """One way to turn a prompt and a seed into a picture: the config of a run, without what all methods share."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=60)  # also the folder of its pictures
    model: str = "shapes/turbo"  # the generator
    options: dict[str, Any] = {}  # how the model is loaded
    verifier: str = "shapes/clip"  # the guide of the search; an embedded model has a default of its own
    select: str | None = None  # the selector among finished samples; the guide by default
    verifiers: Entries | None = None  # the same two as a list with weights; then they follow from it
    search: str = "best_of_n"
    propose: str | None = None  # a hypernetwork
    knobs: dict[str, Any] = {}  # of the search
    compute: float | None = Field(None, strict=True)  # multiples of one sample's cost; None: knobs, or 16

    @model_validator(mode="before")
    @classmethod
    def default_guide(cls, data: Any) -> Any:
        """Without a verifier, that which is made for the model guides."""
        return guided(data, cls.model_fields["model"].default)

    @model_validator(mode="before")
    @classmethod
    def name_panel(cls, data: Any) -> Any:
        """With `verifiers`, guide and selector are named by what it lists; hold-outs are those of the plan."""
        return named(data, ("verifier", "select"))


class Plan(BaseModel):
    """Every method on every prompt with every seed; methods share the seeds, so that all comparisons are paired."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    prompts: int = Field(48, ge=1, strict=True)  # per tag, at most
    seeds: int = Field(1, ge=1, strict=True)  # per prompt
    balanced: bool = False  # more seeds for prompts of small tags: all tags get as many pictures as the largest one
    seed: int = Field(0, ge=0, le=MAX_SEED, strict=True)  # that all seeds are derived from
    threads: int = Field(1, ge=1, le=MAX_THREADS, strict=True)  # per process; it changes the last bits
    block: int = Field(16, ge=1, le=1024, strict=True)  # trials that share batches; it changes the last bits
    candidates: bool = Field(False, strict=True)  # judge every finished sample, outside the ledger
    holdout: Annotated[tuple[str, ...], Field(max_length=8)] = ()  # verifiers that only report
    allow_noncommercial: bool = False  # weights of verifiers whose licence forbids commercial use
    methods: tuple[Method, ...] = Field(min_length=1)
    baseline: str = ""  # method that the others are compared with; the first one by default

    @model_validator(mode="after")
    def check_methods(self) -> Plan:
        """Check that each method is a valid run, names are unique, and the baseline is one of them.

        Raises:
            ValueError: for the first of these that does not hold.
        """
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"two methods have one name among {', '.join(names)}; rename one")
        if len(set(self.holdout)) < len(self.holdout):
            raise ValueError(f"two hold-outs have one name among {', '.join(self.holdout)}; leave one out")
        if self.baseline not in {"", *names}:
            raise ValueError(f"the baseline {self.baseline!r} is not a method{nearest(self.baseline, names)}")
        for method in self.methods:
            shared = {"prompt": "any", "holdout": list(self.holdout)}
            try:
                RunConfig.model_validate({**method.model_dump(exclude={"name", "verifiers"}), **shared})
            except ValidationError as error:
                raise ValueError(f"method {method.name!r}: {explain(error, RunConfig)}") from None
        return self

    @property
    def reference(self) -> str:
        """The name of the baseline."""
        return self.baseline or self.methods[0].name

    def pairs(self, lines: Sequence[Mapping[str, Any]]) -> int:
        """How many pairs of prompt and seed there are.

        Args:
            lines: The prompts, each with its `tag`.
        """
        return sum(self.seeds_of([line["tag"] for line in lines]))

    def seeds_of(self, tags: Sequence[str]) -> tuple[int, ...]:
        """How many seeds each prompt gets.

        Balanced, every tag gets the same number of pictures; the first prompts of a tag get one more where it does not
        divide evenly.

        Args:
            tags: One per prompt.
        """
        if not self.balanced:
            return (self.seeds,) * len(tags)
        sizes, left = Counter(tags), Counter(tags)
        pictures, shares = self.seeds * max(sizes.values(), default=0), []
        for tag in tags:
            shares.append((pictures + left[tag] - 1) // sizes[tag])  # `left` falls from the tag's size to 1
            left[tag] -= 1
        return tuple(shares)


def at_hand(method: Method) -> bool:
    """Whether the generator of a method can be loaded without a download.

    Args:
        method: Of a plan.
    """
    from gensearch import registry

    return registry.models().get(method.model) == "embedded" or method.model.startswith("toy/")


def make_plan(config: str | None, methods: Sequence[str], *, per_prompt: int = 1, **overrides: Any) -> Plan:
    """A plan from a preset or YAML file and from what is given beside it; later sources win.

    Args:
        config: A preset's name or the path of a YAML file; None for none.
        methods: Texts as `parse_method` reads them; one replaces a method of its name.
        per_prompt: Seeds per prompt where neither the preset nor `overrides` says how many.
        overrides: Fields of the plan by name; None leaves one to the preset or its default.

    Raises:
        ValueError: In one line that names the field, the rule and the nearest known name.
    """
    data = read_preset(config, configs() / PRESETS) if config else {}
    entries = data.get("methods") or []
    if not isinstance(entries, list):
        raise ValueError(f"methods: it is {entries!r} in the config; write it as methods: [{{name: base, compute: 1}}]")
    held_out = list(overrides.get("holdout") or data.get("holdout") or ())
    listed = [validate(Method, with_panel(entry, held_out)) for entry in entries]
    given = [validate(Method, with_panel(parse_method(text), held_out)) for text in methods]
    overrides["holdout"] = held_out or None
    replaced = {method.name for method in given}
    kept = [method for method in listed if method.name not in replaced]
    place = {method.name: index for index, method in enumerate(listed)}  # the first one is the baseline
    data["methods"] = sorted(kept + given, key=lambda method: place.get(method.name, len(place)))
    data.setdefault("seeds", per_prompt)
    plan = validate(Plan, data | {key: value for key, value in overrides.items() if value is not None})
    check_names(plan)
    return plan


def check_names(plan: Plan) -> None:
    """Check the names of searches, knobs and verifiers, and their licences; nothing is loaded.

    Args:
        plan: to check.

    Raises:
        ValueError: with the nearest name, for one that does not exist; for a licence that is not allowed.
    """
    from gensearch import registry
    from gensearch.search.knobs import checked_knobs

    for name in plan.holdout:
        registry.parse_verifier(name)
        registry.check_licences(name, plan.allow_noncommercial)
    for method in plan.methods:
        try:
            checked_knobs(registry.search(method.search), method.knobs)
            for name in filter(None, (method.verifier, method.select)):
                registry.parse_verifier(name)
                registry.check_licences(name, plan.allow_noncommercial)
        except ValueError as error:
            raise ValueError(f"method {method.name!r}: {error}") from None


def with_panel(data: Any, holdout: list[str]) -> Any:
    """A method with the verifiers of its panel in place of the path of the file.

    Args:
        data: Of a method, with `panel` or `verifier` as the path of a YAML file, or with a list `verifiers`; other data
            are left to the schema.
        holdout: Of all methods; gets the hold-outs of the panel.

    Raises:
        ValueError: The panel cannot be read or is unfit, or the method names other verifiers as well.
    """
    if not isinstance(data, dict):
        return data
    kept, verifier = dict(data), data.get("verifier")
    if isinstance(verifier, str) and ":" not in verifier and verifier.endswith((".yaml", ".yml")):
        kept["panel"] = kept.pop("verifier")
    if "panel" in kept:
        if more := [role for role in ("verifier", "select", "verifiers") if kept.get(role) is not None]:
            raise ValueError(f"method {data.get('name')!r} has a panel and {', '.join(more)}; leave out one of them")
        kept["verifiers"] = read_panel(str(kept.pop("panel")))
    if not isinstance(kept.get("verifiers"), list):
        return kept
    roles = entries_of(kept["verifiers"])
    kept["verifiers"] = [entry.model_dump() for entry in roles if entry.role != "holdout"]
    holdout += [entry.name for entry in roles if entry.role == "holdout" and entry.name not in holdout]
    return kept


def validate(schema: type[Schema], data: object) -> Schema:
    """Return an instance of a schema.

    Args:
        schema: a pydantic model.
        data: plain data.

    Raises:
        ValueError: with the first problem, in one line.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ValueError(explain(error, schema)) from None


def parse_method(text: str) -> dict[str, Any]:
    """Return a method as plain data.

    Args:
        text: "NAME=KEY:VALUE,KEY:VALUE" with values in YAML; "knobs.n:4" and "options.steps:2" set one entry.

    Raises:
        ValueError: for any other form.
    """
    name, equals, rest = text.partition("=")
    pairs = [pair.partition(":") for pair in split_outside(rest, ",") if pair.strip()]
    if not equals or not all(value.strip() for _, _, value in pairs):
        raise ValueError(f"cannot read --method {text!r}; write NAME=KEY:VALUE,KEY:VALUE as in 'best16=compute:16'")
    data: dict[str, Any] = {"name": name.strip()}
    for key, _, value in pairs:
        assign(data, key.strip(), parse_yaml(value, f"--method {text!r}"))
    return data
