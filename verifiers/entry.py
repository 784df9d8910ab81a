"""An entry of the catalogue: how a named verifier is built, and where its card is; text only, no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from verifiers.types import Verifier


class Entry(NamedTuple):
    """How a named verifier is built, and what it is.

    Attributes:
        build: returns the verifier; called with the device if `network` is true, else without arguments.
        about: what it is, in a few words.
        network: whether it has a network that runs on a device.
        module: where its `CARD` is, such as "verifiers.embedding.pickscore", or "module:NAME" for a card of another
            name; imported when the card is read.
    """

    build: Callable[..., Verifier]
    about: str
    network: bool = False
    module: str = ""
