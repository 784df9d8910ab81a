"""An entry of the catalogue: how a named verifier is built, and where its card is; text only, no torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from verifiers.types import Device, Verifier


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


def loaded_by(module: str, kind: str, method: str = "load", **options: Any) -> Callable[..., Verifier]:
    """Return the builder of a verifier whose class loads a source by itself.

    Args:
        module: of the class, imported when the builder is called.
        kind: name of the class.
        method: of the class, called with the source, the device and the options.
        **options: of the method.
    """

    def build(source: str, device: Device = "cpu") -> Verifier:
        found: Verifier = getattr(getattr(import_module(module), kind), method)(source, device=device, **options)
        return found

    return build


def made_by(module: str, kind: str) -> Callable[[], Verifier]:
    """Return the builder of a verifier without weights.

    Args:
        module: of the class, imported when the builder is called.
        kind: name of the class.
    """

    def build() -> Verifier:
        found: Verifier = getattr(import_module(module), kind)()
        return found

    return build
