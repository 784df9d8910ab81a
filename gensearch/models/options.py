"""Options of models, validated by their annotations: the same on the command line, in folders and in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from gensearch.core.errors import rule

Batch = Annotated[int, Field(ge=1, le=4096)]  # what a record can hold
Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=1, le=16384)]
Scale = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Shape = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]  # of one sample; a list will do

SHARED = {  # what pipelines call alike; what their own signatures say about types is often wrong
    "steps": Count,
    "num_inference_steps": Count,
    "guidance_scale": Scale,
    "true_cfg_scale": Scale,
    "guidance_rescale": Share,
    "negative_prompt": str | list[str] | None,
    "eta": Share,
    "height": Pixels | None,
    "width": Pixels | None,
    "num_frames": Count,
    "max_sequence_length": Count,
}

Init = TypeVar("Init", bound=Callable[..., None])


def checked(init: Init) -> Init:
    """An `__init__` that validates its keyword arguments.

    Args:
        init: With annotations that pydantic understands.

    Raises:
        ValueError: When called, for an argument that does not fit its annotation.
    """

    @wraps(init)
    def held(self: Any, *args: Any, **options: Any) -> None:
        check_options(init, options, getattr(type(self), "name", type(self).__name__))
        init(self, *args, **options)

    return cast(Init, held)


def check_options(function: Callable[..., Any], options: Mapping[str, Any], whose: str) -> None:
    """Check options against a function's annotations; nothing is converted.

    Args:
        function: Whose annotations count.
        options: By name.
        whose: The name of their owner, for the message.

    Raises:
        ValueError: One does not fit.
    """
    hints = {**SHARED, **get_type_hints(function, include_extras=True)}
    for name, value in options.items():
        adapter = TypeAdapter(hints.get(name, Any), config=ConfigDict(strict=True, arbitrary_types_allowed=True))
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"option {name} of {whose} is {value!r}: {rule(error, adapter)}") from None
