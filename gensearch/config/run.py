"""The one schema of a run: it validates the command line, presets, records and what a PNG claims about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gensearch.config.explain import explain
from gensearch.config.panel import Entries, Name, entries_of, names_of
from gensearch.core.limits import MAX_COMPUTE, MAX_PROMPT, MAX_SEED, check_prompt, refuse_selector
from gensearch.shapes.verifiers import guide_for
from verifiers.names import elects, leaf_names

Value = bool | int | float | str | None
Mapped = Annotated[dict[str, Value | list[Value]], Field(max_length=50)]


class RunConfig(BaseModel):
    """One search on one prompt. Everything that decides the outcome is here; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    prompt: str = Field(max_length=MAX_PROMPT)
    model: Name = "shapes/turbo"
    options: Mapped = {}  # how to load the model: steps, guidance_scale, batch_size, device, dtype
    verifier: Name = "shapes/clip"  # guides the search; an embedded model has a default of its own
    select: Name | None = None  # picks among finished samples instead of the guide
    holdout: Annotated[list[Name], Field(max_length=8)] = []  # only report; none: the model's own, if it has one
    verifiers: Entries | None = None  # the same three as a list with weights; then they follow from it
    guard: bool = True  # check for over-optimisation, outside the ledger
    search: Name = "best_of_n"
    propose: Name | None = None  # a noise hypernetwork by name, folder or repository, or a memory
    compute: float | None = Field(default=None, ge=1, le=MAX_COMPUTE)  # budget in multiples of one sample's cost (NFE)
    knobs: Mapped = {}  # of the search
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    allow_noncommercial: bool = False  # weights of verifiers whose licence forbids commercial use
    metadata: bool = True  # the recipe inside the PNG files

    @model_validator(mode="before")
    @classmethod
    def default_guide(cls, data: Any) -> Any:
        """Without a verifier, that which is made for the model guides."""
        return guided(data, cls.model_fields["model"].default)

    @model_validator(mode="before")
    @classmethod
    def name_panel(cls, data: Any) -> Any:
        """With `verifiers`, the fields of the three roles name what it lists, and nothing else may be asked for."""
        return named(data, ("verifier", "select", "holdout"))

    @field_validator("prompt")
    @classmethod
    def check_prompt(cls, prompt: str) -> str:
        """Something to draw, without control characters."""
        check_prompt(prompt, "it")
        return prompt

    @field_validator("options")
    @classmethod
    def check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Whatever a config says, no code from a model's repository is run."""
        if "trust_remote_code" in options:
            raise ValueError("trust_remote_code is never passed on; models run with the code that is installed")
        return options

    @model_validator(mode="after")
    def check_roles(self) -> RunConfig:
        """A hold-out neither guides nor selects, nothing selects for a control, and an election does nothing else.

        This is what names tell before anything is loaded; a Panel also compares the networks.
        """
        seen = leaf_names(self.verifier) | leaf_names(self.select or self.verifier)
        for name in self.holdout:
            if leaf_names(name) & seen:
                raise ValueError(f"the hold-out {name!r} also guides or selects; hold out a verifier that does neither")
        for name in (self.verifier, *self.holdout):
            if elects(name):
                raise ValueError(f"{name!r} can only select: it elects among finished candidates; use it as select")
        if self.select:
            refuse_selector(self.select, self.search)
        return self


def guided(data: Any, model: str) -> Any:
    """The fields of a run with the default guide of its model, where they name none or say null.

    Args:
        data: Fields by name; anything but a dict is left to the schema.
        model: The generator where they name none.
    """
    if not isinstance(data, dict) or data.get("verifier") is not None or data.get("verifiers") is not None:
        return data
    return {**data, "verifier": guide_for(data.get("model", model))}


def named(data: Any, fields: Sequence[str]) -> Any:
    """The fields of a run with the names of its roles as its list of `verifiers` has them; unchanged without a list.

    Args:
        data: Fields by name; anything but a dict is left to the schema.
        fields: The roles that it may have, of `verifier`, `select` and `holdout`.

    Raises:
        ValueError: A role is named beside the list in another way, or the list has a role that is not among the fields.
    """
    if not isinstance(data, dict) or not isinstance(data.get("verifiers"), list):
        return data
    roles = names_of(entries_of(data["verifiers"]))
    for field, value in roles.items():
        if field not in fields and value:
            raise ValueError(f"the panel has a {field}; all methods share theirs, so list it as {field} of the plan")
        if data.get(field, value) != value:
            raise ValueError(f"{field} is {data[field]!r}, and the panel gives the roles; leave out one of them")
    return {**data, **{field: roles[field] for field in fields}}


def validate(data: Any) -> RunConfig:
    """A config from plain data.

    Args:
        data: A mapping of field names to values, as JSON or YAML has them.

    Raises:
        ValueError: A field is unknown or its value unfit; in one line, for the first problem.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ValueError(explain(error, RunConfig)) from None
