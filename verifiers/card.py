"""What a verifier is: checkpoint, licence, input, range and price, declared beside its code; text only, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

from verifiers.calls import unquoted
from verifiers.names import leaf_names


class Card(NamedTuple):
    """What a user should know of a verifier before using it.

    Attributes:
        checkpoint: name of the weights on the hub; "embedded" for shipped weights, "none" without any.
        licence: of the weights, an SPDX identifier where there is one.
        input: "pictures", "clips" or "pictures and clips".
        range: of its scores, with typical values.
        size: of its network, such as "986M parameters"; empty without one.
        price: of one score, such as "1 pass of ViT-H/14".
        differentiable: whether scores have gradients with respect to pixels.
        commercial: whether the licence allows commercial use.
    """

    checkpoint: str
    licence: str
    input: str
    range: str
    size: str = ""
    price: str = ""
    differentiable: bool = False
    commercial: bool = True


def card(name: str, modules: Mapping[str, str]) -> Card | None:
    """Return the card of a verifier; None if it has none.

    A name kind:source that is not listed has the card of its kind, with its own checkpoint and an unknown licence. A
    kind that is listed as kind:FOLDER holds converted copies of one checkpoint, whose licence they keep.

    Args:
        name: a single verifier name.
        modules: of all listed names: where the card is, as `Entry.module`; empty without one.
    """
    kind, _, source = name.partition(":")
    if kind == "frames":
        inner = card(source, modules)
        return inner and inner._replace(input="pictures and clips", price=f"{inner.price or '1 score'} for each frame")
    if name in modules:
        return declared(modules[name])
    alike = next((other for other in modules if source and other.startswith(f"{kind}:")), None)
    found = declared(modules[alike]) if alike else None
    if alike is None or found is None or alike == f"{kind}:FOLDER":
        return found
    source = unquoted(source)
    return found._replace(checkpoint=source, licence=f"that of {source}", size="", price="", commercial=True)


def declared(place: str) -> Card | None:
    """Return a card from where it is declared; None for an empty place.

    Args:
        place: a module, whose card is `CARD`, or "module:NAME".
    """
    module, _, name = place.partition(":")
    found: Card | None = getattr(import_module(module), name or "CARD") if module else None
    return found


def require_commercial(name: str, modules: Mapping[str, str]) -> None:
    """Check that the weights of all verifiers in a name may be used commercially.

    Args:
        name: a single name, a weighted sum or a rank vote.
        modules: of all listed names: where the card is.

    Raises:
        ValueError: for one whose licence forbids it.
    """
    for leaf in sorted(leaf_names(name)):
        found = card(leaf, modules)
        if found and not found.commercial:
            raise ValueError(
                f"the licence of {leaf!r} ({found.licence}) forbids commercial use; if yours is not commercial, allow "
                "it by --allow-noncommercial, or allow_noncommercial=True in Python"
            )
